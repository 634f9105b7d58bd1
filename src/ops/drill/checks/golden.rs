//! Golden requests: a file with a JSON object a line, `request` and the `answer` that is known.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::strategy::file::Golden;

use super::{Ask, http};

/// Longest line, in bytes.
const LINE_MAX: u64 = 64 << 20;

#[derive(Debug, Deserialize)]
struct Line {
    request: Value,
    answer: Value,
}

/// Sends each request and compares its answer.
pub(super) fn check(golden: &Golden, ask: Ask, within: Duration) -> Result<String, String> {
    let fail = |err: std::io::Error| format!("{}: {err}", golden.file);
    let mut reader = BufReader::new(File::open(&golden.file).map_err(fail)?);
    let poster = http::Poster::new(&golden.url, within);
    let (mut number, mut asked) = (0, 0);
    loop {
        let mut text = String::new();
        let read = reader.by_ref().take(LINE_MAX).read_line(&mut text).map_err(fail)?;
        if read == 0 {
            break;
        }
        number += 1;
        if text.trim().is_empty() {
            continue;
        }
        let at = format!("{} line {number}", golden.file);
        let line: Line = serde_json::from_str(&text).map_err(|err| format!("{at}: {err}"))?;
        let wanted = if ask == Ask::Beside { beside(line.answer) } else { line.answer };
        let answer = http::post(&poster, &line.request)?;
        if answer.status != 200 {
            return Err(format!("{at}: status {}", answer.status));
        }
        let found: Value = serde_json::from_str(&answer.body)
            .map_err(|err| format!("{at}: the answer is no JSON: {err}"))?;
        compare(&found, &wanted, golden, "").map_err(|what| format!("{at}: {what}"))?;
        asked += 1;
    }
    match asked {
        0 => Err(format!("{} has no request", golden.file)),
        asked if ask == Ask::Beside => {
            Ok(format!("it takes {asked} other answers for the known ones; lower its tolerance"))
        }
        asked => Ok(format!("{asked} answers as they were")),
    }
}

/// Says where an answer is not what is known.
fn compare(found: &Value, wanted: &Value, golden: &Golden, at: &str) -> Result<(), String> {
    let place = || if at.is_empty() { "the answer".to_owned() } else { at.to_owned() };
    match (found, wanted) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap_or(f64::NAN), b.as_f64().unwrap_or(f64::NAN));
            let apart = (a - b).abs();
            match apart <= golden.tolerance * a.abs().max(b.abs()) {
                true => Ok(()),
                false => Err(format!("{} is {a}, known is {b}", place())),
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            if let (Some(least), Some(a), Some(b)) = (golden.cosine, numbers(a), numbers(b)) {
                let cosine = cosine(&a, &b);
                return match cosine >= least {
                    true => Ok(()),
                    false => Err(format!("{}: the cosine is {cosine}, below {least}", place())),
                };
            }
            let pairs = a.iter().zip(b).enumerate();
            pairs
                .into_iter()
                .try_for_each(|(number, (a, b))| compare(a, b, golden, &format!("{at}/{number}")))
        }
        (Value::Object(a), Value::Object(b)) if a.len() == b.len() => {
            b.iter().try_for_each(|(key, wanted)| match a.get(key) {
                Some(found) => compare(found, wanted, golden, &format!("{at}/{key}")),
                None => Err(format!("{at}/{key} is missing")),
            })
        }
        (a, b) if a == b => Ok(()),
        (a, b) => Err(format!("{} is {}, known is {}", place(), short(a), short(b))),
    }
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(200).collect()
}

/// A list of numbers, where it is one.
fn numbers(list: &[Value]) -> Option<Vec<f64>> {
    let numbers: Option<Vec<f64>> = list.iter().map(Value::as_f64).collect();
    numbers.filter(|numbers| numbers.len() > 1)
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let length = (dot(a, a) * dot(b, b)).sqrt();
    match length > 0.0 {
        true => dot(a, b) / length,
        // Two zero vectors are the same; one has no angle with another.
        false => f64::from(u8::from(a == b)),
    }
}

/// An answer of the same shape in which every value is another, so that what is compared is seen to
/// matter: under any tolerance below 1 and any cosine above 0 it is not the same.
fn beside(answer: Value) -> Value {
    match answer {
        Value::Null => Value::Bool(true),
        Value::Bool(is) => Value::Bool(!is),
        Value::Number(number) => match number.as_f64() {
            Some(number) if number != 0.0 => serde_json::json!(-number),
            _ => serde_json::json!(1),
        },
        Value::String(text) => Value::String(text + " not"),
        Value::Array(list) if list.is_empty() => serde_json::json!([null]),
        Value::Array(list) => list.into_iter().map(beside).collect(),
        Value::Object(fields) if fields.is_empty() => serde_json::json!({ "not": null }),
        Value::Object(fields) => {
            fields.into_iter().map(|(key, value)| (key, beside(value))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn golden(tolerance: f64, cosine: Option<f64>) -> Golden {
        Golden { file: String::new(), url: String::new(), tolerance, cosine }
    }

    #[test]
    fn answers_are_compared_value_by_value() {
        let known = json!({ "label": "cat", "scores": [0.5, 0.25], "ok": true });
        let with = |found: Value| compare(&found, &known, &golden(1e-5, None), "");
        assert_eq!(with(known.clone()), Ok(()));
        assert!(with(json!({ "label": "cat", "scores": [0.500001, 0.25], "ok": true })).is_ok());
        let wrong = with(json!({ "label": "cat", "scores": [0.51, 0.25], "ok": true }));
        assert_eq!(wrong.unwrap_err(), "/scores/0 is 0.51, known is 0.5");
        for found in [
            json!({ "label": "dog", "scores": [0.5, 0.25], "ok": true }),
            json!({ "label": "cat", "scores": [0.5], "ok": true }),
            json!({ "label": "cat", "scores": [0.5, 0.25] }),
            json!([]),
            json!(null),
        ] {
            assert!(with(found).is_err());
        }
    }

    #[test]
    fn embeddings_may_point_the_same_way() {
        let near = golden(0.0, Some(0.999));
        assert!(compare(&json!([1.0, 2.0]), &json!([1.001, 2.0]), &near, "").is_ok());
        assert!(compare(&json!([1.0, 2.0]), &json!([2.0, 1.0]), &near, "").is_err());
        assert!(compare(&json!([0.0, 0.0]), &json!([0.0, 1.0]), &near, "").is_err());
    }

    proptest! {
        #[test]
        fn what_is_beside_an_answer_never_passes(
            text in "[a-z]{0,4}", number in -1e9..1e9, cosine in 0.001..=1.0, tolerance in 0.0..0.999
        ) {
            let (list, none) = (json!([number, 0.0, number]), json!([0, 0]));
            for answer in [
                json!(text), json!(number), json!(0), list, none, json!([]), json!({}), json!(null),
                json!({ "not": text }), json!({ "a": [[number, 1.0], [true]] }),
            ] {
                let other = beside(answer.clone());
                prop_assert!(compare(&answer, &other, &golden(tolerance, Some(cosine)), "").is_err());
                prop_assert!(compare(&answer, &other, &golden(tolerance, None), "").is_err());
            }
        }

        #[test]
        fn numbers_that_may_be_anything_are_content_with_what_is_beside(number in -1e9..1e9) {
            let answer = json!({ "score": number });
            prop_assert!(compare(&answer, &beside(answer.clone()), &golden(1e9, None), "").is_ok());
        }
    }
}
