//! Telling whoever the strategy names: by command, webhook and mail. What there is to tell is
//! decided by [`news`](crate::strategy::news).
//!
//! What must stay true: a notification that fails, or hangs, is told of and fails nothing; what the
//! ledger gets to know of it holds no address, which may be a secret.

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::report::json::document;
use crate::report::{comply as report, json as as_json};
use crate::strategy::comply::{Compliance, Fault};
use crate::strategy::evidence::Evidence;
use crate::strategy::file::{Mail, Notify};
use crate::strategy::news::Event;

use super::outcome::Outcome;

/// A notification is given up after so long.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How often who waits looks.
const LOOK: Duration = Duration::from_millis(20);
/// Where sendmail is unless the strategy says otherwise.
const SENDMAIL: &str = "/usr/sbin/sendmail";
/// Most that is told of what a command says.
const SAID_MAX: u64 = 500;

/// What there is to tell of a run.
pub(super) struct Told<'a> {
    /// The strategy file.
    pub file: &'a Path,
    /// What was done.
    pub outcomes: &'a [Outcome],
    /// How sources comply now.
    pub judged: &'a [Compliance],
    /// What is wrong with repositories now.
    pub faults: &'a [Fault],
    /// What is known now.
    pub after: &'a Evidence,
}

/// Who is told, as ledgers name them: the way, and the start of the address' hash.
pub(super) fn whom(notify: &Notify) -> String {
    let (way, address) = match (&notify.command, &notify.webhook, &notify.email) {
        (Some(command), ..) => ("command", command.argv().join("\0")),
        (_, Some(hook), _) => ("webhook", hook.url.clone()),
        (.., Some(mail)) => ("mail", mail.to.join("\0")),
        (None, None, None) => ("nobody", String::new()),
    };
    let hash = blake3::hash(address.as_bytes()).to_hex();
    format!("{way} {}", hash.get(..8).unwrap_or_default())
}

/// Who is told, for those who have the strategy file.
pub(super) fn how(notify: &Notify) -> String {
    match (&notify.command, &notify.webhook, &notify.email) {
        (Some(command), ..) => format!("`{}`", command.argv().join(" ")),
        (_, Some(hook), _) => hook.url.clone(),
        (.., Some(mail)) => format!("mail to {}", mail.to.join(", ")),
        (None, None, None) => String::new(),
    }
}

/// Tells; the error says why that failed.
pub(super) fn send(notify: &Notify, told: &Told<'_>, event: Event) -> Result<(), String> {
    let json = || document(told.json(event)).to_string();
    if let Some(command) = &notify.command {
        return feed(&command.argv(), &json());
    }
    if let Some(hook) = &notify.webhook {
        return post(&hook.url, &json());
    }
    match &notify.email {
        Some(mail) => {
            let program = mail.sendmail.as_deref().unwrap_or(SENDMAIL);
            feed(&[program, "-t", "-i"], &told.mail(mail, event))
        }
        None => Ok(()),
    }
}

impl Told<'_> {
    fn json(&self, event: Event) -> Value {
        json!({
            "event": event.word(),
            "host": self.after.host,
            "strategy": self.file.display().to_string(),
            "time": as_json::time(self.after.now),
            "parts": self.outcomes.iter().map(Outcome::json).collect::<Vec<_>>(),
            "sources": self.judged.iter().map(report::json).collect::<Vec<_>>(),
            "faults": self.faults.iter().map(report::fault_json).collect::<Vec<_>>(),
            "unreadable": self.after.unknown,
        })
    }

    /// Headers and text.
    fn mail(&self, mail: &Mail, event: Event) -> String {
        let what = match event {
            Event::Failure => "FAILED",
            Event::Partial => "some entries could not be taken",
            Event::Recovery => "all is well again",
            Event::Run => "done",
        };
        let from = mail.from.as_ref().map(|from| format!("From: {}\n", one_line(from)));
        let to: Vec<String> = mail.to.iter().map(|to| one_line(to)).collect();
        let parts: String = self.outcomes.iter().map(|it| format!("{}\n", it.words())).collect();
        format!(
            "{}To: {}\nSubject: icecore on {}: {what}\nMIME-Version: 1.0\n\
             Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\
             Auto-Submitted: auto-generated\n\n{parts}\n{}",
            from.unwrap_or_default(),
            to.join(", "),
            one_line(&self.after.host),
            report::text(self.judged, self.faults),
        )
    }
}

/// A header's value: a line break in it would begin another header.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn post(url: &str, body: &str) -> Result<(), String> {
    let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).build();
    let agent: ureq::Agent = config.into();
    let sent = agent.post(url).header("Content-Type", "application/json").send(body);
    sent.map(drop).map_err(|err| err.to_string())
}

/// Runs a command with the text on its standard input, and waits for it.
fn feed(argv: &[&str], text: &str) -> Result<(), String> {
    let (first, rest) = argv.split_first().ok_or("there is nothing to run")?;
    let mut child = Command::new(first)
        .args(rest)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|err| err.to_string())?;
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    // Threads of their own: neither a command that does not read, nor one whose children keep its
    // output open, makes anybody wait for longer than the time-out.
    let text = text.to_owned();
    std::thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(text.as_bytes())));
    let (sender, said) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut words = String::new();
        let _ = stderr.map(|stderr| stderr.take(SAID_MAX).read_to_string(&mut words));
        let _ = sender.send(words);
    });
    match wait(&mut child).map_err(|err| err.to_string())? {
        None => Err(format!("no answer within {} s", TIMEOUT.as_secs())),
        Some(status) if status.success() => Ok(()),
        Some(status) => {
            let said = said.recv_timeout(LOOK * 10).unwrap_or_default();
            Err(format!("{status} {}", one_line(&said)).trim_end().to_owned())
        }
    }
}

/// Its status; `None` where it was stopped after the time-out.
fn wait(child: &mut Child) -> io::Result<Option<std::process::ExitStatus>> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() > TIMEOUT {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ledgers_learn_no_address() {
        let notify = |text: &str| toml::from_str::<Notify>(text).unwrap();
        let hook = notify("webhook.url = \"https://example.org/secret\"");
        let other = notify("webhook.url = \"https://example.org/other\"");
        assert!(whom(&hook).starts_with("webhook ") && !whom(&hook).contains("example"));
        assert_ne!(whom(&hook), whom(&other));
        assert!(whom(&notify("command = \"x\"")).starts_with("command "));
        assert_eq!(how(&notify("email.to = [\"a\", \"b\"]")), "mail to a, b");
    }

    #[test]
    fn headers_have_one_line() {
        assert_eq!(one_line("a\r\nBcc: b"), "a  Bcc: b");
    }

    #[test]
    fn commands_that_fail_are_told_with_what_they_say() {
        assert_eq!(feed(&["/bin/sh", "-c", "cat >/dev/null"], "x"), Ok(()));
        let err = feed(&["/bin/sh", "-c", "echo why >&2; exit 3"], "x").unwrap_err();
        assert_eq!(err, "exit status: 3 why");
        assert!(feed(&["/no/such/program"], "x").is_err());
    }
}
