//! Answers over HTTP, as they are: no redirects, no proxy.

use std::time::Duration;

use serde_json::Value;

use crate::strategy::file::Check;

use super::Ask;

/// Longest body that is looked at, in bytes.
const BODY_MAX: u64 = 64 << 20;

/// What a server answered.
#[derive(Debug)]
pub(in super::super) struct Answer {
    pub(in super::super) status: u16,
    pub(in super::super) body: String,
}

fn agent(within: Duration) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(within))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None);
    config.build().new_agent()
}

fn answer(
    url: &str,
    sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Result<Answer, String> {
    let fail = |err: ureq::Error| format!("{url}: {err}");
    let mut response = sent.map_err(fail)?;
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(BODY_MAX).read_to_vec().map_err(fail)?;
    Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
}

/// Asks for an address.
pub(in super::super) fn get(url: &str, within: Duration) -> Result<Answer, String> {
    answer(url, agent(within).get(url).call())
}

/// Posts JSON to an address.
pub(super) fn post(agent: &Poster, request: &Value) -> Result<Answer, String> {
    answer(&agent.url, agent.agent.post(&agent.url).send_json(request))
}

/// Posts to one address, over one connection.
pub(super) struct Poster {
    agent: ureq::Agent,
    url: String,
}

impl Poster {
    pub(super) fn new(url: &str, within: Duration) -> Self {
        Self { agent: agent(within), url: url.to_owned() }
    }
}

/// Status, body and values of an answer.
pub(super) fn check(
    url: &str,
    check: &Check,
    ask: Ask,
    within: Duration,
) -> Result<String, String> {
    let other = (ask == Ask::Beside).then(|| elsewhere(url));
    let url = other.as_deref().unwrap_or(url);
    let answer = get(url, within)?;
    let told = judge(check, &answer).map_err(|what| format!("{url}: {what}"))?;
    match ask {
        Ask::Plan => Ok(told),
        Ask::Beside => {
            Ok(format!("{url}, which is no path of it, gives {told} too; add body or json"))
        }
    }
}

/// Whether nothing but a status is expected.
pub(super) fn is_of_status(check: &Check) -> bool {
    check.http.is_some() && check.body.is_none() && check.json.is_none()
}

/// An address of the same server that it cannot know.
fn elsewhere(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + "://".len());
    let end = url.get(start..).and_then(|rest| rest.find(['/', '?', '#']));
    let server = end.and_then(|end| url.get(..start + end)).unwrap_or(url);
    format!("{server}/icecore-no-such-path-{:08x}", std::process::id() ^ 0x1cec_04e5)
}

fn judge(check: &Check, answer: &Answer) -> Result<String, String> {
    let wanted = check.status.unwrap_or(200);
    if answer.status != wanted {
        let begin: String = answer.body.chars().take(200).collect();
        return Err(format!("status {} instead of {wanted}; it says: {begin}", answer.status));
    }
    if let Some(text) = check.body.as_ref().filter(|text| !answer.body.contains(*text)) {
        return Err(format!("the body does not have \"{text}\""));
    }
    let Some(values) = &check.json else { return Ok(format!("status {wanted}")) };
    let body: Value =
        serde_json::from_str(&answer.body).map_err(|err| format!("the body is no JSON: {err}"))?;
    for (pointer, wanted) in values {
        let wanted = serde_json::to_value(wanted).unwrap_or_default();
        match body.pointer(pointer) {
            Some(found) if same(found, &wanted) => {}
            Some(found) => return Err(format!("{pointer} is {found} instead of {wanted}")),
            None => return Err(format!("there is nothing at {pointer}")),
        }
    }
    Ok(format!("status {wanted}, {} values as they should be", values.len()))
}

/// Numbers are the same whether they are written `1` or `1.0`.
fn same(found: &Value, wanted: &Value) -> bool {
    match (found.as_f64(), wanted.as_f64()) {
        (Some(found), Some(wanted)) => found == wanted,
        _ => found == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn check() -> Check {
        toml::from_str("http = \"http://x/\"").unwrap()
    }

    #[test]
    fn a_path_that_cannot_be_is_at_the_same_server() {
        for url in ["http://a:1/b/c?d", "http://a:1/", "http://a:1?x", "http://a:1"] {
            let other = elsewhere(url);
            assert!(other.starts_with("http://a:1/icecore-no-such-path-"), "{other}");
        }
        assert!(is_of_status(&check()));
        assert!(!is_of_status(&Check { body: Some("x".into()), ..check() }));
    }

    #[test]
    fn an_answer_is_judged_by_status_body_and_values() {
        let answer = |status, body: &str| Answer { status, body: body.into() };
        let good = answer(200, r#"{"label": "cat", "n": [1, 2.0]}"#);
        let json = |pointer: &str, value: toml::Value| Check {
            json: Some(BTreeMap::from([(pointer.to_owned(), value)])),
            ..check()
        };
        assert!(judge(&check(), &good).is_ok());
        assert!(judge(&check(), &answer(500, "")).unwrap_err().contains("500 instead of 200"));
        assert!(judge(&Check { status: Some(404), ..check() }, &answer(404, "")).is_ok());
        assert!(judge(&Check { body: Some("dog".into()), ..check() }, &good).is_err());
        assert!(judge(&json("/label", "cat".into()), &good).is_ok());
        assert!(judge(&json("/n/1", 2.into()), &good).is_ok());
        let wrong = judge(&json("/label", "dog".into()), &good).unwrap_err();
        assert_eq!(wrong, "/label is \"cat\" instead of \"dog\"");
        assert!(judge(&json("/x", 1.into()), &good).unwrap_err().contains("nothing at /x"));
        assert!(judge(&json("/x", 1.into()), &answer(200, "<html>")).is_err());
    }
}
