//! The process that outlives all others of a drill, to clear away what they had on the machine.
//!
//! It stands between the process that was asked for the drill and the guard, in a group of its own,
//! and has nothing to do but wait: so whoever is killed, by ^C, a closed terminal or kill -9, this
//! one is not. It starts the guard, and when the process above it ends or closes the pipe it kills
//! what goes on, waits for the last process, and only then removes the folders, since a process
//! that still writes could make them again. As a subreaper it gets the children of those that were
//! killed, so the last one is one that it waits for itself.
//!
//! Where it is killed as well, the next drill finds what is left ([`Leftovers`](super::Leftovers)).

use std::fs;
use std::io::{BufRead, Read, Write};
use std::process::{Child, ExitStatus, Stdio};

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process, pidfd_open, pidfd_send_signal,
    set_child_subreaper, wait,
};
use zeroize::Zeroizing;

use crate::ops::{OpError, Result};

use super::command::this_program;
use super::guard::GUARD;
use super::inside::parse_order;
use super::leftovers::clear;
use super::order::{Event, Teller};

/// The role of this process: it gets the order on standard input, whose end ends the drill.
pub const SWEEP: &str = "sweep";

/// Carries out the drill through a guard, and clears away.
///
/// # Errors
/// Where the guard cannot be started; the folders are removed then too.
pub fn sweep(mut input: impl BufRead + Send + 'static, tell: &Teller) -> Result<()> {
    let mut line = Zeroizing::new(String::new());
    input.read_line(&mut line).map_err(|err| OpError::io("read the drill's order", err))?;
    let order = parse_order(&line)?;
    let done = watch(&line, input, tell);
    drop(line);
    // Who waits for the end of all processes hears it now; the folders may take longer.
    let null = fs::File::options().write(true).open("/dev/null");
    if let Ok(null) = null {
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
    clear(&order.folder, order.scratch.as_deref());
    done
}

/// Runs the guard until it ends or `input` does, and everything below it to its end.
fn watch(line: &str, mut input: impl Read + Send + 'static, tell: &Teller) -> Result<()> {
    let failed = |err| OpError::io("start the drill's guard", err);
    set_child_subreaper(Some(getpid())).map_err(|err| failed(err.into()))?;
    let mut guard = this_program(GUARD).stdin(Stdio::piped()).spawn().map_err(failed)?;
    let handle = pid_of(&guard)
        .ok_or(rustix::io::Errno::SRCH)
        .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()));
    let mut wait_for_end = move |handle: std::os::fd::OwnedFd| {
        // Whatever is said here: only its end counts.
        let _ = input.read_to_end(&mut Vec::new());
        let _ = pidfd_send_signal(&handle, Signal::KILL);
    };
    let started = handle.map_err(|err| failed(err.into())).and_then(|handle| {
        let thread = std::thread::Builder::new();
        thread.spawn(move || wait_for_end(handle)).map_err(failed)
    });
    if started.is_err() {
        let _ = guard.kill();
    }
    // Held open: its end would end the guard. That the guard is gone is seen below.
    let stdin = guard.stdin.take();
    let told = stdin.as_ref().map_or(Ok(()), |mut stdin| stdin.write_all(line.as_bytes()));
    let status = guard.wait().map_err(failed)?;
    reap();
    started?;
    told.map_err(failed)?;
    tell_of(status, tell)
}

fn pid_of(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

/// A guard that ends well has told of everything itself.
fn tell_of(status: ExitStatus, tell: &Teller) -> Result<()> {
    match status.success() {
        true => Ok(()),
        false => tell.tell(&Event::Failed { cause: format!("the drill's guard ended: {status}") }),
    }
}

/// Ends and waits for all that is left below this process.
fn reap() {
    loop {
        for pid in children() {
            let _ = kill_process(pid, Signal::KILL);
        }
        match wait(WaitOptions::empty()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            // There is none.
            Err(_) => return,
        }
    }
}

/// This process's children, none of which was waited for: their numbers are theirs. Kernels that
/// do not list them end them all the same, each when the one above it ended.
fn children() -> Vec<Pid> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let numbers: Vec<i32> = lists
        .flat_map(|list| list.split_whitespace().map(str::parse).collect::<Vec<_>>())
        .filter_map(std::result::Result::ok)
        .collect();
    numbers.into_iter().filter_map(Pid::from_raw).collect()
}
