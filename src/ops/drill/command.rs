//! Commands in the drill's world: whom they run as, what they get to see, and the end of what they
//! said.
//!
//! This program starts itself to become another user before it becomes the command: changing users
//! in a process that has threads is unsafe.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};

use crate::ops::{OpError, Result};
use crate::strategy::file::Words;

use super::users::{User, find};
use super::world::OWN;

/// The word on the command line that makes this program one of the processes of a drill.
pub const INSIDE: &str = "drill-inside";
/// The role that becomes another command.
pub const AS: &str = "as";

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Bytes of output that are told.
const TOLD_BYTES: u64 = 2000;
/// Pause between two looks whether a command is over.
const PAUSE: Duration = Duration::from_millis(5);

/// A command of the plan.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    /// Names the file of its output.
    pub(super) name: &'a str,
    pub(super) run: &'a Words,
    pub(super) user: Option<&'a str>,
    pub(super) directory: Option<&'a str>,
    pub(super) environment: Option<&'a BTreeMap<String, String>>,
}

/// A command that was started, in a process group of its own.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    output: PathBuf,
}

/// This program, as another process of the drill.
pub fn this_program(role: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("icecore").arg(INSIDE).arg(role);
    command
}

impl Call<'_> {
    pub(super) fn start(&self) -> Result<Running> {
        let user = find(self.user)?;
        let output = Path::new(OWN).join(format!("{}.log", self.name.replace('/', "_")));
        let log = File::create(&output).map_err(|err| OpError::io("make a file of output", err))?;
        let again = log.try_clone().map_err(|err| OpError::io("make a file of output", err))?;
        let groups: Vec<_> = user.groups.iter().map(ToString::to_string).collect();
        let mut command = this_program(AS);
        command.arg(user.uid.to_string()).arg(user.gid.to_string()).arg(groups.join(","));
        command.args(self.run.argv()).env_clear().envs(environment(&user));
        command.envs(self.environment.into_iter().flatten());
        command.current_dir(self.directory.unwrap_or("/"));
        command.stdin(Stdio::null()).stdout(log).stderr(again).process_group(0);
        let child = command.spawn().map_err(|err| {
            let place = self.directory.unwrap_or("/");
            OpError::io(format!("start {} in {place}", self.name), err)
        })?;
        Ok(Running { child, output })
    }

    /// Runs it to its end; what it said.
    pub(super) fn complete(&self, within: Duration) -> Result<String, String> {
        let mut running = self.start().map_err(|err| crate::units::chain(&err))?;
        match running.wait(within) {
            Some(status) if status.success() => Ok(running.said()),
            Some(status) => Err(format!("{status}{}", running.end())),
            None => {
                running.signal(Signal::KILL);
                Err(format!("not over within {} s{}", within.as_secs_f64(), running.end()))
            }
        }
    }
}

fn environment(user: &User) -> [(&'static str, String); 5] {
    [
        ("PATH", PATH.into()),
        ("HOME", user.home.clone()),
        ("USER", user.name.clone()),
        ("LOGNAME", user.name.clone()),
        ("LANG", "C.UTF-8".into()),
    ]
}

impl Running {
    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for its end.
    pub(super) fn wait(&mut self, within: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            if start.elapsed() >= within {
                return None;
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Sends a signal to it and to all that it started. That it is gone is no matter.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(pid, signal);
        }
    }

    /// The end of its output.
    pub(super) fn said(&self) -> String {
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = File::open(&self.output)?;
            let len = file.metadata()?.len();
            file.seek(SeekFrom::Start(len.saturating_sub(TOLD_BYTES)))?;
            let mut bytes = Vec::new();
            file.take(TOLD_BYTES).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        String::from_utf8_lossy(&read().unwrap_or_default()).trim().to_owned()
    }

    /// The same behind a message.
    pub(super) fn end(&self) -> String {
        end_of(&self.said())
    }
}

/// The end of an output in one line. What it says of a place that cannot be written to becomes what
/// to do about it, and stands for all that was said before.
fn end_of(said: &str) -> String {
    let lines: Vec<_> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let Some(at) = lines.iter().rposition(|line| is_read_only(line)) else {
        return match lines.join(" | ") {
            said if said.is_empty() => "; it said nothing".into(),
            said => format!("; its output ends: {said}"),
        };
    };
    let line = lines.get(at).copied().unwrap_or_default();
    let advice = match path_in(line) {
        Some(path) => {
            let folder = path.parent().unwrap_or(&path);
            format!(
                "it cannot write to {}: only components can be written to in a drill; add writable \
                 = [\"{}\"] to the drill, or restore that folder as a component",
                path.display(),
                folder.display()
            )
        }
        None => format!(
            "it cannot write where it wants to (\"{line}\"): only components can be written to in a \
             drill; add writable = [\"…\"] with that folder to the drill, or restore it as a component"
        ),
    };
    match lines.get(at + 1..).unwrap_or_default() {
        [] => format!("; {advice}"),
        more => format!("; {advice}; its output ends: {}", more.join(" | ")),
    }
}

/// Whether a line is about `EROFS`, as C, Go, Python, Rust and Node write it.
fn is_read_only(line: &str) -> bool {
    line.to_lowercase().contains("read-only file system")
}

/// The last absolute path that a line names: between quotes, else between blanks.
fn path_in(line: &str) -> Option<PathBuf> {
    let is_path = |word: &&str| word.starts_with('/') && word.len() > 1;
    let quoted = ['\'', '"', '`'].into_iter().find_map(|quote| {
        let inner = line.split(quote).skip(1).step_by(2);
        inner.filter(is_path).last()
    });
    let bare = || {
        let words = line.split_whitespace();
        words.map(|word| word.trim_end_matches([':', ',', ';', '.', ')'])).rfind(is_path)
    };
    quoted.or_else(bare).map(PathBuf::from)
}

/// The role [`AS`]: user, group, groups and the command, which this process becomes.
///
/// # Errors
/// Where that is not possible; it does not return otherwise.
pub fn become_command(args: &[OsString]) -> Result<()> {
    let wrong = || OpError::Input("a command of a drill is started by the drill".into());
    let number = |at: usize| args.get(at).and_then(|arg| arg.to_str()?.parse::<u32>().ok());
    let (Some(uid), Some(gid), Some(groups)) = (number(0), number(1), args.get(2)) else {
        return Err(wrong());
    };
    let groups = groups.to_str().unwrap_or_default().split(',').filter_map(|id| id.parse().ok());
    let groups: Vec<_> = groups.map(rustix::fs::Gid::from_raw).collect();
    let program = args.get(3).ok_or_else(wrong)?;
    let fail = |err: rustix::io::Errno| OpError::io(format!("become user {uid}"), err.into());
    if rustix::process::geteuid().as_raw() != uid {
        set_thread_groups(&groups).map_err(fail)?;
        set_thread_gid(rustix::fs::Gid::from_raw(gid)).map_err(fail)?;
        set_thread_uid(rustix::fs::Uid::from_raw(uid)).map_err(fail)?;
    }
    let err = Command::new(program).args(args.get(4..).unwrap_or_default()).exec();
    Err(OpError::io(format!("run {}", program.display()), err))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_cannot_be_written_to_is_named_with_what_to_do() {
        let python = "Traceback (most recent call last):\n  File \"/srv/a.py\", line 1, in <module>\n\
                      OSError: [Errno 30] Read-only file system: '/var/log/my app/a.log'\n";
        assert_eq!(
            end_of(python),
            "; it cannot write to /var/log/my app/a.log: only components can be written to in a \
             drill; add writable = [\"/var/log/my app\"] to the drill, or restore that folder as a \
             component"
        );
        for line in [
            "touch: cannot touch '/a/b': Read-only file system",
            "/bin/sh: 1: cannot create /a/b: Read-only file system",
            "open /a/b: read-only file system",
            "[emerg] open() \"/a/b\" failed (30: Read-only file system)",
            "Error: EROFS: read-only file system, open '/a/b'",
        ] {
            let end = end_of(line);
            assert!(end.contains("writable = [\"/a\"]"), "{line}: {end}");
            assert!(!end.contains('\n') && !end.contains("its output ends"), "{end}");
        }
        let unnamed = end_of("Error: Read-only file system (os error 30)\nbye");
        assert!(
            unnamed.contains("(os error 30)\")") && unnamed.ends_with("ends: bye"),
            "{unnamed}"
        );
        assert_eq!(end_of("a\n\n b\n"), "; its output ends: a | b");
        assert_eq!(end_of(" \n"), "; it said nothing");
    }
}
