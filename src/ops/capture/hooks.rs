//! Commands around a capture: before, after, on failure; freeze and thaw.
//!
//! What must follow follows also where a thread panicked or the user stopped the capture: it is
//! done when a guard goes, and an interruption does not reach it. Where the program is killed the
//! next one does it, and where it fails each later run of the strategy ([`crate::capture::undo`]);
//! never while what it follows still runs. Until it is done the source is not captured again: what
//! state its service is in nobody knows.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::capture::undo::{AGAIN, Claim, Owner, Switched, Undo};
use crate::capture::{Ended, Program};
use crate::ops::error::{OpError, Result};
use crate::strategy::file::{Hooks, Words};
use crate::units::chain;

use super::failed;

/// Tells a hook what failed.
const ERROR: &str = "ICECORE_ERROR";
/// For each hook, where nothing is said.
const TIMEOUT: Duration = Duration::from_secs(600);
/// Hooks that must follow are not interrupted.
static NEVER: AtomicBool = AtomicBool::new(false);

fn program(source: &str, words: &Words, timeout: Duration) -> Program {
    let env = vec![("ICECORE_SOURCE".to_owned(), source.to_owned())];
    Program { env, timeout: Some(timeout), ..Program::new(words.argv()) }
}

/// The hooks of one source; `after` runs when this goes.
pub(super) struct Around<'a> {
    source: &'a str,
    hooks: &'a Hooks,
    failure: Option<String>,
    /// The hook after, which follows also where this process is killed.
    after: Option<Switched>,
    /// Whether all that must follow was run.
    is_over: bool,
}

impl<'a> Around<'a> {
    /// Runs the hook before. When it fails the others that belong to a failure run too.
    pub(super) fn begin(
        source: &'a str,
        hooks: &'a Hooks,
        interrupted: &AtomicBool,
    ) -> Result<Self> {
        // What panics is a failure.
        let failure = Some("it panicked".to_owned());
        let timeout = hooks.timeout.map_or(TIMEOUT, |timeout| timeout.0);
        let noted = |after| noted((source, "after"), after, timeout, interrupted);
        let mut around = Self { source, hooks, failure, after: None, is_over: false };
        match hooks.after.as_ref().map(noted).transpose() {
            Ok(after) => around.after = after,
            Err(what) => return Err(around.end_failed(failed(source, what))),
        }
        if let Some(before) = &hooks.before
            && let Err(what) =
                followed(&program(source, before, timeout), around.after.as_mut(), interrupted)
        {
            let err = failed(source, format!("the hook before it failed: {what}"));
            return Err(around.end_failed(err));
        }
        Ok(around)
    }

    fn timeout(&self) -> Duration {
        self.hooks.timeout.map_or(TIMEOUT, |timeout| timeout.0)
    }

    /// Ends it after a capture that went well.
    ///
    /// # Errors
    /// Where the hook after it fails; each later run tries it again.
    pub(super) fn end(mut self) -> Result<()> {
        self.failure = None;
        self.follow().map_err(|what| failed(self.source, what))
    }

    /// Ends it after a failure; what failed in all.
    pub(super) fn end_failed(mut self, err: OpError) -> OpError {
        self.failure = Some(err.to_string());
        match (self.follow(), err) {
            (Ok(()), err) => err,
            // Known by its kind.
            (Err(what), OpError::Interrupted) => {
                tracing::error!("source {}: {what}", self.source);
                OpError::Interrupted
            }
            (Err(what), err) => OpError::Input(format!("{}; also, {what}", chain(&err))),
        }
    }

    /// What must follow. A failure of that is one of the capture, too.
    fn follow(&mut self) -> Result<(), String> {
        self.is_over = true;
        if let Some(what) = &self.failure {
            self.tell_failure(what);
        }
        let (Some(noted), Some(words)) = (self.after.take(), &self.hooks.after) else {
            return Ok(());
        };
        let mut program = program(self.source, words, self.timeout());
        program.env.extend(self.failure.iter().map(|it| (ERROR.to_owned(), it.clone())));
        noted.undo_by(|| program.run(&NEVER)).map_err(|what| {
            let what = format!("the hook after it failed: {what}; {AGAIN}");
            if self.failure.is_none() {
                self.tell_failure(&what);
            }
            what
        })
    }

    /// Runs the hook for failures.
    fn tell_failure(&self, what: &str) {
        let Some(words) = &self.hooks.on_failure else { return };
        let mut program = program(self.source, words, self.timeout());
        program.env.push((ERROR.to_owned(), what.to_owned()));
        if let Err(what) = program.run(&NEVER) {
            tracing::error!("source {}: the hook on-failure failed: {what}", self.source);
        }
    }
}

impl Drop for Around<'_> {
    fn drop(&mut self) {
        if !self.is_over
            && let Err(what) = self.follow()
        {
            tracing::error!("source {}: {what}", self.source);
        }
    }
}

/// Runs a program, which what was noted to follow it waits for.
fn followed(
    program: &Program,
    noted: Option<&mut Switched>,
    interrupted: &AtomicBool,
) -> Result<(), String> {
    let Some(noted) = noted else { return program.run(interrupted) };
    let running = program.start_told(false, interrupted, |group| noted.follows(group))?;
    match running.wait() {
        Ended::Well => noted.follows(None),
        Ended::Badly(what) => Err(what),
    }
}

/// Writers that are stopped; they go on when this goes, and where this process is killed by the next
/// capture.
pub(super) struct Frozen<'a> {
    source: &'a str,
    thaw: Option<Switched>,
}

impl<'a> Frozen<'a> {
    /// Stops them. Where that fails they are told to go on all the same.
    pub(super) fn begin(
        source: &'a str,
        (freeze, thaw): (Option<&Words>, Option<&'a Words>),
        hooks: &Hooks,
        interrupted: &AtomicBool,
    ) -> Result<Self> {
        let timeout = hooks.timeout.map_or(TIMEOUT, |timeout| timeout.0);
        let noted = |thaw| noted((source, "thaw"), thaw, timeout, interrupted);
        let thaw = thaw.map(noted).transpose().map_err(|what| failed(source, what))?;
        let mut frozen = Self { source, thaw };
        if let Some(freeze) = freeze {
            followed(&program(source, freeze, timeout), frozen.thaw.as_mut(), interrupted)
                .map_err(|what| failed(source, format!("freeze failed: {what}")))?;
        }
        Ok(frozen)
    }

    /// Lets them go on; where that fails they stand still.
    pub(super) fn end(mut self) -> Result<()> {
        let Some(thaw) = self.thaw.take() else { return Ok(()) };
        let told = |what| format!("thaw failed: {what}; {AGAIN}");
        thaw.undo().map_err(|what| failed(self.source, told(what)))
    }
}

/// What must follow, written down before anything is stopped.
fn noted(
    (source, kind): (&str, &str),
    words: &Words,
    timeout: Duration,
    interrupted: &AtomicBool,
) -> Result<Switched, String> {
    let Program { argv, mut env, .. } = program(source, words, timeout);
    // Seen only where nobody else runs it.
    let why = "icecore was killed, or this command failed before";
    env.push((ERROR.to_owned(), why.to_owned()));
    let owner = Owner::new(source, &format!("the command {kind}"));
    let claim = Claim::take(&owner.name(kind), interrupted)
        .map_err(|what| format!("not captured, as it is in an unknown state: {what}"))?;
    let timeout = timeout.as_secs().max(1);
    claim.note(owner, Undo::Program { argv, env, timeout, after: None })
}
