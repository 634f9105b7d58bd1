//! What `ingest` takes from a pipe: standard input, or the output of a command.
//!
//! A pipe may stay silent for hours, and so may a command after it has closed its output. Neither
//! keeps an interruption waiting: reading looks at the flag while nothing comes, and a command that
//! is no longer wanted is asked to end.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};

use crate::ops::OpError;
use crate::ops::ingest::Stream;

use super::error::CliError;
use super::signals::Interrupt;

/// How often who waits looks at the flag.
const LOOK: Duration = Duration::from_millis(50);

/// A pipe that can be given up.
struct Piped<R> {
    reader: R,
    interrupt: Interrupt,
}

impl<R: Read + AsFd> Read for Piped<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let wait = Timespec { tv_sec: 0, tv_nsec: LOOK.subsec_nanos().into() };
        loop {
            self.interrupt.check().map_err(io::Error::other)?;
            // Its end and its errors are ready to be read as well.
            match poll(&mut [PollFd::new(&self.reader, PollFlags::IN)], Some(&wait)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return self.reader.read(buf),
                Err(err) => return Err(err.into()),
            }
        }
    }
}

/// Standard input under this name.
pub(crate) fn of_stdin(name: OsString, interrupt: &Interrupt) -> Stream<'static> {
    // Not through the buffer of `Stdin`, of which poll knows nothing.
    let reader: Box<dyn Read + Send> = match io::stdin().as_fd().try_clone_to_owned() {
        Ok(fd) => Box::new(Piped { reader: std::fs::File::from(fd), interrupt: interrupt.clone() }),
        Err(_) => Box::new(io::stdin()),
    };
    Stream { name: name.into_vec(), reader, finish: Box::new(|| Ok(())) }
}

/// What a command writes, under this name. A dry run does not start it.
pub(crate) fn of_command(
    name: OsString,
    program: &[OsString],
    dry_run: bool,
    interrupt: &Interrupt,
) -> anyhow::Result<Stream<'static>> {
    let name = name.into_vec();
    let Some((first, arguments)) = program.split_first() else {
        return Err(CliError::usage("--command needs a command after --").into());
    };
    if dry_run {
        let (reader, finish) = (Box::new(io::empty()), Box::new(|| Ok(())));
        return Ok(Stream { name, reader, finish });
    }
    let shown = first.display().to_string();
    let mut child = Command::new(first)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|source| OpError::io(format!("run {shown}"), source))?;
    let reader = child.stdout.take().context("the command has no output")?;
    let reader = Box::new(Piped { reader, interrupt: interrupt.clone() });
    let interrupt = interrupt.clone();
    let finish = Box::new(move || ended(child, &shown, &interrupt));
    Ok(Stream { name, reader, finish })
}

fn ended(mut child: Child, shown: &str, interrupt: &Interrupt) -> Result<(), String> {
    let failed = |err: io::Error| format!("cannot wait for {shown}: {err}");
    while child.try_wait().map_err(failed)?.is_none() {
        if interrupt.check().is_err() {
            // That it has ended just now is no matter.
            let _ = kill_process(Pid::from_child(&child), Signal::TERM);
            break;
        }
        std::thread::sleep(LOOK);
    }
    match child.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{shown} failed: {status}")),
        Err(err) => Err(failed(err)),
    }
}
