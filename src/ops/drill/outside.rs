//! The drill as the process that was asked for it sees it: starts the process that clears away,
//! which starts the guard, hears what happens, and ends it all where time is up or the user wants it.
//!
//! What must stay true: [`Session::end`] returns after the last process of the drill is gone and its
//! folders are removed. Nothing of it depends on this process living on: its end closes the pipe
//! that the other one waits for.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::format::{DrillCheck, DrillPhase};
use crate::ops::{OpError, Result};

use super::order::{Event, Order, now_ns};

/// How often the user's wish is looked for.
const LOOK: Duration = Duration::from_millis(50);
/// All is gone within so long after it was ended.
const GONE: Duration = Duration::from_secs(30);
/// What is kept of what processes say, in bytes.
const SAID_MAX: usize = 4000;

/// What is heard of the guard.
enum Heard {
    Line(String),
    Said(String),
}

/// What a drill found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// What was done, by start.
    pub phases: Vec<DrillPhase>,
    /// Checks.
    pub checks: Vec<DrillCheck>,
    /// Checks of damaged data.
    pub control: Vec<DrillCheck>,
    /// From the start to the last check.
    pub rto_ns: u64,
    /// Why it came to no end.
    pub cause: Option<String>,
    /// A process in the world that stays, where it does.
    pub kept: Option<u32>,
}

/// A drill that goes on.
#[derive(Debug)]
pub struct Session {
    child: Child,
    heard: Receiver<Heard>,
    started_ns: u64,
    found: Found,
    /// Every check was carried out, and held.
    is_checked: bool,
    said: String,
}

/// That the time of a drill is over.
fn late(within: f64, during: &str, is_checked: bool) -> String {
    match is_checked {
        true => format!(
            "every check held; the control was not over within {within} s{during}: raise timeout, \
             or add manifest = \"COMPONENT\" for each component, which makes it shorter"
        ),
        false => format!("it was not over within {within} s{during}"),
    }
}

impl Session {
    /// Starts the processes of a drill, the first of which `sweeper` is to become.
    pub fn start(mut sweeper: Command, order: &Order) -> Result<Self> {
        use std::os::unix::process::CommandExt;
        let failed = |err| OpError::io("start the drill", err);
        let line = serde_json::to_vec(order)
            .map_err(|err| OpError::Input(format!("the drill cannot be told: {err}")))?;
        let mut line = Zeroizing::new(line);
        line.push(b'\n');
        // A group of its own: ^C of a terminal is for this process, which ends the others.
        sweeper.process_group(0);
        sweeper.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = sweeper.spawn().map_err(failed)?;
        if let Some(stdin) = &mut child.stdin {
            stdin.write_all(&line).map_err(failed)?;
        }
        let (sender, heard) = channel();
        if let Some(stdout) = child.stdout.take() {
            let sender = sender.clone();
            std::thread::spawn(move || {
                let lines = BufReader::new(stdout).lines().map_while(std::io::Result::ok);
                lines.for_each(|line| drop(sender.send(Heard::Line(line))));
            });
        }
        if let Some(stderr) = child.stderr.take() {
            std::thread::spawn(move || {
                let mut lines = BufReader::new(stderr);
                let mut buffer = [0; 1024];
                while let Ok(len @ 1..) = lines.read(&mut buffer) {
                    let text = String::from_utf8_lossy(buffer.get(..len).unwrap_or_default());
                    drop(sender.send(Heard::Said(text.into_owned())));
                }
            });
        }
        let (started_ns, found) = (order.started_ns, Found::default());
        Ok(Self { child, heard, started_ns, found, is_checked: false, said: String::new() })
    }

    /// Hears until all is over, or until the world stays. `watch` is told of each event.
    ///
    /// # Errors
    /// Where the user does not want it any more. Everything else is in what it found.
    pub fn hear(
        &mut self,
        within: Duration,
        interrupted: &AtomicBool,
        watch: &mut dyn FnMut(&Event),
    ) -> Result<Found> {
        let start = Instant::now();
        loop {
            if interrupted.load(Ordering::Relaxed) {
                return Err(OpError::Interrupted);
            }
            if start.elapsed() > within {
                let during = self.found.phases.last().map(|phase| phase.name.clone());
                let during = during.map_or_else(String::new, |name| format!(", after \"{name}\""));
                let what = late(within.as_secs_f64(), &during, self.is_checked);
                self.found.cause.get_or_insert(what);
                break;
            }
            match self.heard.recv_timeout(LOOK) {
                Ok(Heard::Line(line)) => self.line(&line, watch),
                Ok(Heard::Said(text)) => self.said.push_str(&text),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.found.kept.is_some() {
                break;
            }
        }
        if self.found.cause.is_some() && self.found.rto_ns == 0 {
            self.found.rto_ns = now_ns().saturating_sub(self.started_ns);
        }
        Ok(self.found.clone())
    }

    fn line(&mut self, line: &str, watch: &mut dyn FnMut(&Event)) {
        let Ok(event) = serde_json::from_str::<Event>(line) else {
            self.found.cause.get_or_insert(format!("the drill says what nobody knows: {line}"));
            return;
        };
        watch(&event);
        match event {
            Event::Phase(phase) => self.found.phases.push(phase),
            Event::Check(check) => {
                self.found.checks.push(check);
                self.found.rto_ns = now_ns().saturating_sub(self.started_ns);
            }
            Event::Control(check) => self.found.control.push(check),
            Event::Checked => self.is_checked = self.found.checks.iter().all(|it| it.passed),
            Event::Controlled => {}
            Event::Kept { pid } => self.found.kept = Some(pid),
            Event::Failed { cause } => drop(self.found.cause.get_or_insert(cause)),
        }
    }

    /// Ends what still goes on and waits until all processes are gone; what they said to people.
    pub fn end(mut self) -> Result<String> {
        drop(self.child.stdin.take());
        let start = Instant::now();
        loop {
            match self.heard.recv_timeout(LOOK) {
                Ok(Heard::Said(text)) => self.said.push_str(&text),
                Err(RecvTimeoutError::Disconnected) => break,
                _ if start.elapsed() > GONE => {
                    let what = "processes of the drill do not end; look for icecore drill-inside";
                    return Err(OpError::Input(what.into()));
                }
                _ => {}
            }
        }
        // It removes the folders now.
        self.child.wait().map_err(|err| OpError::io("wait for the drill", err))?;
        let cut = self.said.len().saturating_sub(SAID_MAX);
        let cut = (cut..=self.said.len()).find(|&at| self.said.is_char_boundary(at)).unwrap_or(0);
        Ok(self.said.split_off(cut))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_is_over_in_the_control_is_told_with_the_remedy() {
        let told = late(15.0, ", after \"stop\"", true);
        for word in ["every check held", "control was not over within 15 s, after", "raise timeout"]
        {
            assert!(told.contains(word), "{told}");
        }
        let early = late(2.0, "", false);
        assert_eq!(early, "it was not over within 2 s");
    }
}
