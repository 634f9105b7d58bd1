//! Programs that a capture runs: dump tools, hooks, commands whose output is a file.
//!
//! Each has a process group of its own, so that what it started ends with it. Neither its silence
//! nor its stubbornness keeps an interruption or a timeout waiting: it is asked to end, and killed
//! a little later. What it says on standard error is kept, its end at least.
//!
//! Each is killed when this process ends, also by `kill -9` ([`orphan`]): a dump is of no use without
//! who takes it and may hold a server's locks, and a hook that goes on would do its work after what
//! must follow it. What it had started itself is ended by the next run, which knows it by its
//! [`Group`].

mod group;
mod orphan;

pub(super) use group::Group;
pub use group::started;

use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};

/// How often who waits looks up.
const LOOK: Duration = Duration::from_millis(20);
/// From asking a program to end to killing it.
const MERCY: Duration = Duration::from_secs(5);
/// How long what a program left behind may hold its standard error open.
const TAIL_WAIT: Duration = Duration::from_millis(500);
/// Bytes of standard error that are kept.
const TAIL_MAX: usize = 2 << 10;

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct Program {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Added to the environment.
    pub env: Vec<(String, String)>,
    /// User and group, where not this process'.
    pub user: Option<(u32, u32)>,
    /// It is ended after so long.
    pub timeout: Option<Duration>,
}

/// How a program ended.
#[derive(Debug)]
pub enum Ended {
    /// By itself, with success.
    Well,
    /// Otherwise; in words, with the end of what it said.
    Badly(String),
}

/// A program that runs.
#[derive(Debug)]
pub struct Running<'a> {
    child: Child,
    shown: String,
    timeout: Option<Duration>,
    until: Option<Instant>,
    interrupted: &'a AtomicBool,
    tail: Arc<Tail>,
}

/// A program's output. It ends, too, when the program's time is over or the user stops it: whether
/// it is whole is what [`Running::wait`] says.
#[derive(Debug)]
pub struct Pipe<'a> {
    output: ChildStdout,
    until: Option<Instant>,
    interrupted: &'a AtomicBool,
}

/// The end of what was said.
#[derive(Debug, Default)]
struct Tail {
    bytes: Mutex<Vec<u8>>,
    is_over: AtomicBool,
}

impl Program {
    /// A program by its words.
    pub fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self { argv: argv.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Starts it. With `piped`, its output is to be taken by [`Running::output`]; else it is lost.
    ///
    /// # Errors
    /// Where it cannot be started, in words.
    pub fn start<'a>(
        &self,
        piped: bool,
        interrupted: &'a AtomicBool,
    ) -> Result<Running<'a>, String> {
        self.start_told(piped, interrupted, |_| Ok(()))
    }

    /// The same; before it does anything, `told` has had its processes, for who must end them where
    /// this process cannot. Meanwhile no other program is started, so `told` must not start one.
    ///
    /// # Errors
    /// Also of `told`: then it does nothing.
    pub fn start_told<'a>(
        &self,
        piped: bool,
        interrupted: &'a AtomicBool,
        told: impl FnOnce(Option<Group>) -> Result<(), String>,
    ) -> Result<Running<'a>, String> {
        let Some((first, arguments)) = self.argv.split_first() else {
            return Err("there is nothing to run".to_owned());
        };
        let shown = self.argv.join(" ");
        let mut command = Command::new(first);
        command.args(arguments).envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        command.stdout(if piped { Stdio::piped() } else { Stdio::null() });
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid).current_dir("/");
        }
        let told = |leader| told(Group::of(leader)).map_err(io::Error::other);
        let spawned = orphan::spawn(command, told);
        let mut child = spawned.map_err(|err| format!("cannot run {shown}: {err}"))?;
        let tail = Arc::new(Tail::default());
        match child.stderr.take() {
            Some(stderr) => {
                let tail = Arc::clone(&tail);
                std::thread::spawn(move || tail.follow(stderr));
            }
            None => tail.is_over.store(true, Ordering::SeqCst),
        }
        let until = self.timeout.map(|timeout| Instant::now() + timeout);
        Ok(Running { child, shown, timeout: self.timeout, until, interrupted, tail })
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// Where it does not end well, in words.
    pub fn run(&self, interrupted: &AtomicBool) -> Result<(), String> {
        match self.start(false, interrupted)?.wait() {
            Ended::Well => Ok(()),
            Ended::Badly(what) => Err(what),
        }
    }
}

impl<'a> Running<'a> {
    /// Its output, once.
    pub fn output(&mut self) -> Option<Pipe<'a>> {
        let Self { until, interrupted, .. } = *self;
        self.child.stdout.take().map(|output| Pipe { output, until, interrupted })
    }

    /// Waits until it has ended, or makes it end.
    #[must_use]
    pub fn wait(mut self) -> Ended {
        let failed = |err: io::Error| Ended::Badly(format!("cannot wait for it: {err}"));
        loop {
            // First these, which cut its output short, whatever its end says.
            if self.interrupted.load(Ordering::SeqCst) {
                self.end();
                return Ended::Badly(format!("{} was interrupted", self.shown));
            }
            if self.until.is_some_and(|until| Instant::now() >= until) {
                self.end();
                let timeout = self.timeout.unwrap_or_default().as_secs_f64();
                let what = format!("{} was ended: it took more than {timeout} s", self.shown);
                return Ended::Badly(what + &self.tail.text());
            }
            match self.child.try_wait() {
                Ok(Some(status)) => return self.ended(status),
                Ok(None) => {}
                Err(err) => return failed(err),
            }
            std::thread::sleep(LOOK);
        }
    }

    fn ended(&self, status: ExitStatus) -> Ended {
        if status.success() {
            return Ended::Well;
        }
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (None, Some(signal)) => format!("killed by signal {signal}"),
            (None, None) => "no exit status".to_owned(),
        };
        Ended::Badly(format!("{} failed: {how}{}", self.shown, self.tail.text()))
    }

    /// Asks it and what it started to end, then makes them.
    fn end(&mut self) {
        let group = Pid::from_child(&self.child);
        let until = Instant::now() + MERCY;
        // That it has ended just now is no matter.
        let _ = kill_process_group(group, Signal::TERM);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(LOOK);
        }
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.end();
        }
    }
}

impl Read for Pipe<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let wait = Timespec { tv_sec: 0, tv_nsec: LOOK.subsec_nanos().into() };
        loop {
            let is_late = self.until.is_some_and(|until| Instant::now() >= until);
            if is_late || self.interrupted.load(Ordering::SeqCst) {
                return Ok(0);
            }
            match poll(&mut [PollFd::new(&self.output, PollFlags::IN)], Some(&wait)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return self.output.read(buf),
                Err(err) => return Err(err.into()),
            }
        }
    }
}

impl Tail {
    fn follow(&self, mut from: impl Read) {
        let mut buffer = [0; 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let mut bytes = crate::sync::lock(&self.bytes);
            bytes.extend_from_slice(buffer.get(..count).unwrap_or_default());
            let over = bytes.len().saturating_sub(TAIL_MAX);
            bytes.drain(..over);
        }
        self.is_over.store(true, Ordering::SeqCst);
    }

    /// On one line, after a colon; nothing where nothing was said.
    fn text(&self) -> String {
        let until = Instant::now() + TAIL_WAIT;
        while !self.is_over.load(Ordering::SeqCst) && Instant::now() < until {
            std::thread::sleep(LOOK);
        }
        let bytes = crate::sync::lock(&self.bytes);
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if lines.is_empty() { String::new() } else { format!(": {}", lines.join("; ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(line: &str) -> Program {
        Program::new(["/bin/sh", "-c", line])
    }

    #[test]
    fn its_status_and_last_words_are_told() {
        let never = AtomicBool::new(false);
        assert_eq!(shell("true").run(&never), Ok(()));
        let err = shell("echo one >&2; echo two >&2; exit 7").run(&never).unwrap_err();
        assert!(err.ends_with("failed: exit status 7: one; two"), "{err}");
        let err = shell("kill -9 $$").run(&never).unwrap_err();
        assert!(err.ends_with("failed: killed by signal 9"), "{err}");
        let err = Program::new(["/nonexistent/program"]).run(&never).unwrap_err();
        assert!(err.starts_with("cannot run /nonexistent/program"), "{err}");
        let long =
            shell("head -c 100000 /dev/zero | tr '\\0' x >&2; echo >&2; echo end >&2; exit 1")
                .run(&never);
        let err = long.unwrap_err();
        assert!(err.ends_with("xxx; end") && err.len() < 2 * TAIL_MAX, "{}", err.len());
    }

    #[test]
    fn it_does_nothing_where_it_could_not_be_noted() {
        let folder = tempfile::tempdir().unwrap();
        let program = shell(&format!("touch {}", folder.path().join("done").display()));
        let never = AtomicBool::new(false);
        let noted = program.start_told(false, &never, |group| {
            assert!(group.is_some());
            Err("no room".into())
        });
        let err = noted.unwrap_err();
        assert!(err.starts_with("cannot run") && err.ends_with("no room"), "{err}");
        let made = || std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(made(), 0);
        program.run(&never).unwrap();
        assert_eq!(made(), 1);
    }

    #[test]
    fn it_ends_when_its_time_is_over_with_all_that_it_started() {
        let never = AtomicBool::new(false);
        let program =
            Program { timeout: Some(Duration::from_millis(100)), ..shell("sleep 60 & sleep 61") };
        let mut running = Program { argv: program.argv.clone(), ..program }.start(true, &never);
        let mut pipe = running.as_mut().unwrap().output().unwrap();
        assert_eq!(pipe.read(&mut [0; 10]).unwrap(), 0);
        let Ended::Badly(what) = running.unwrap().wait() else { panic!("it ended well") };
        assert!(what.contains("took more than 0.1 s"), "{what}");
    }

    #[test]
    fn an_interruption_ends_it() {
        let interrupted = AtomicBool::new(true);
        let err = shell("sleep 60").run(&interrupted).unwrap_err();
        assert!(err.ends_with("was interrupted"), "{err}");
    }
}
