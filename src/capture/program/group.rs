//! The processes of a program, to be found again by another run: its process group, which all that
//! it started is in unless it went away on purpose.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

use super::{LOOK, MERCY};

/// Killed processes are gone within so long, unless the kernel holds them.
const GONE: Duration = Duration::from_secs(5);

/// A process group, told apart from later ones of the same number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The machine's start, as the kernel names it.
    boot: String,
    /// Number of the group and of its first process.
    leader: i32,
    /// When that one started, in the kernel's ticks since the machine did.
    started: u64,
}

/// A process, as `/proc/PID/stat` tells.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    is_dead: bool,
    group: i32,
    started: u64,
}

impl Group {
    /// The group that this process has begun.
    pub(super) fn of(leader: i32) -> Option<Self> {
        let started = stat(leader)?.started;
        Some(Self { boot: boot()?, leader, started })
    }

    /// Ends what is left of it: asks, and kills a little later.
    ///
    /// # Errors
    /// Where some of it is still there; in words.
    pub fn end(&self) -> Result<(), String> {
        for (signal, patience) in [(Signal::TERM, MERCY), (Signal::KILL, GONE)] {
            let until = Instant::now() + patience;
            if !self.is_there() {
                return Ok(());
            }
            if let Some(group) = Pid::from_raw(self.leader) {
                // That it has ended just now is no matter; what may not be ended stays, and is told.
                let _ = kill_process_group(group, signal);
            }
            while self.is_there() && Instant::now() < until {
                std::thread::sleep(LOOK);
            }
        }
        match self.is_there() {
            true => Err(format!("processes of group {} do not end; end them", self.leader)),
            false => Ok(()),
        }
    }

    /// Whether any process is in it. A first process that started at another time is that of
    /// another group.
    fn is_there(&self) -> bool {
        let is_other = stat(self.leader).is_some_and(|leader| leader.started != self.started);
        if is_other || boot().as_ref() != Some(&self.boot) {
            return false;
        }
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        let numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let ours =
            |stat: Stat| stat.group == self.leader && !stat.is_dead && stat.started >= self.started;
        numbers.filter_map(stat).any(ours)
    }
}

fn boot() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

/// When a process started, in the kernel's ticks since the machine did: with its number, that is told
/// apart from any later one.
#[must_use]
pub fn started(pid: u32) -> Option<u64> {
    Some(stat(i32::try_from(pid).ok()?)?.started)
}

fn stat(pid: i32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The fields after the name, which may hold anything; see proc_pid_stat(5).
fn parse(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let is_dead = matches!(fields.next()?, "Z" | "X");
    let group = fields.nth(1)?.parse().ok()?;
    let started = fields.nth(16)?.parse().ok()?;
    Some(Stat { is_dead, group, started })
}

#[cfg(test)]
mod tests {
    use super::super::Program;
    use super::*;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let text = "7 (a) b (c) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 99 100 200\n";
        assert_eq!(parse(text), Some(Stat { is_dead: false, group: 42, started: 99 }));
        assert_eq!(parse("7 (a) Z 1 42 42"), None);
    }

    #[test]
    fn what_a_program_left_behind_is_ended_and_another_group_is_not() {
        let never = AtomicBool::new(false);
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("there");
        let line = format!("(sleep 300; true) & touch {}; sleep 300", mark.display());
        let mut group = None;
        let running = Program::new(["/bin/sh", "-c", &line])
            .start_told(false, &never, |of| {
                group = of;
                assert!(!mark.exists(), "nothing is done before");
                Ok(())
            })
            .unwrap();
        let group = group.unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        while !mark.exists() && Instant::now() < until {
            std::thread::sleep(LOOK);
        }
        let earlier = Group { started: group.started - 1, ..group.clone() };
        earlier.end().unwrap();
        assert!(group.is_there(), "another one was ended");
        assert!(!Group { boot: "another".into(), ..group.clone() }.is_there());
        group.end().unwrap();
        assert!(!group.is_there());
        drop(running);
    }
}
