//! The processes inside: one that goes into the namespaces, the first one of them, which takes care
//! of the dead, and the one that does the work.

use std::io::{BufRead, Read};
use std::process::{Command, Stdio};
use std::{fs, io};

use rustix::process::{WaitOptions, wait};

use crate::ops::{OpError, Result};
use crate::strategy::file::Network;
use crate::units::chain;

use super::checks::{self, Ask};
use super::command::this_program;
use super::control::control;
use super::manifest::first_content;
use super::namespace::{die_with_parent, enter};
use super::order::{Event, Order, Teller};
use super::service::Services;
use super::world;

/// The role of the first process of the namespaces.
pub const FIRST: &str = "first";
/// The role of the process that does the work.
pub const WORK: &str = "work";

/// Reads the order: one line.
pub fn read_order(input: &mut impl BufRead) -> Result<Order> {
    let mut line = String::new();
    input.read_line(&mut line).map_err(|err| OpError::io("read the drill's order", err))?;
    parse_order(&line)
}

pub(super) fn parse_order(line: &str) -> Result<Order> {
    serde_json::from_str(line)
        .map_err(|err| OpError::Input(format!("the drill's order does not read: {err}")))
}

/// The role [`ENTER`](super::guard::ENTER), in a process with one thread. The order is left in
/// standard input for the one that does the work.
pub fn enter_namespaces() -> Result<i32> {
    die_with_parent()?;
    // It is the network that decides, which only the order tells: read, and told again.
    let mut bytes = Vec::new();
    read_line(&mut bytes).map_err(|err| OpError::io("read the drill's order", err))?;
    let order = read_order(&mut bytes.as_slice())?;
    enter(order.drill.network == Network::Loopback)?;
    let file = order.folder.join("order");
    fs::write(&file, &bytes).map_err(|err| OpError::io("hand on the drill's order", err))?;
    pass_on(this_program(FIRST).arg(&file))
}

/// Reads a line of standard input and not a byte more: what follows is for another process.
fn read_line(bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut stdin = fs::File::from(rustix::io::dup(io::stdin())?);
    let mut byte = [0];
    while stdin.read(&mut byte)? == 1 {
        bytes.extend_from_slice(&byte);
        if byte == *b"\n" {
            break;
        }
    }
    Ok(())
}

/// Runs a process with this one's streams to its end.
fn pass_on(command: &mut Command) -> Result<i32> {
    let failed = |err| OpError::io("start a process of the drill", err);
    let status = command.stdin(Stdio::inherit()).status().map_err(failed)?;
    Ok(status.code().unwrap_or(1))
}

/// The role [`FIRST`]: starts the process that works, and reaps whatever ends until that one does.
/// With its own end the kernel ends all others.
pub fn first(args: &[std::ffi::OsString]) -> Result<i32> {
    die_with_parent()?;
    let failed = |err| OpError::io("start a process of the drill", err);
    let child = this_program(WORK).args(args).spawn().map_err(failed)?;
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get().unsigned_abs() == child.id() => {
                return Ok(status.exit_status().unwrap_or(1));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(err) => return Err(failed(err.into())),
        }
    }
}

/// The role [`WORK`]: all that happens in the world. What goes wrong is told as an event.
pub fn work(order: &Order, tell: &Teller) -> Result<()> {
    let pid = fs::read_link("/proc/self").ok().and_then(|link| link.to_str()?.parse().ok());
    match carry_out(order, pid.unwrap_or(0), tell) {
        Ok(()) => Ok(()),
        Err(err) => tell.tell(&Event::Failed { cause: chain(&err) }),
    }
}

fn carry_out(order: &Order, pid: u32, tell: &Teller) -> Result<()> {
    tell.phase("overlay", || world::build(order))?;
    tell.phase("first byte", || first_byte(order))?;
    let mut services = Services::start(&order.drill, tell)?;
    let mine = || order.drill.checks.iter().filter(|check| check.manifest.is_none());
    for check in mine() {
        let mut done = checks::carry_out(check, Ask::Plan, order.snapshot_secs);
        if !done.passed
            && let Some(lost) = services.lost()
        {
            done.told = format!("{}; {lost}", done.told);
        }
        tell.tell(&Event::Check(done))?;
    }
    if let Some(lost) = services.lost() {
        return Err(OpError::Input(lost));
    }
    tell.tell(&Event::Checked)?;
    wait_for_go()?;
    control(order, &mine().collect::<Vec<_>>(), &mut services, tell)?;
    tell.tell(&Event::Controlled)?;
    wait_for_go()?;
    if order.keeps {
        let _services = Services::start(&order.drill, tell)?;
        tell.tell(&Event::Kept { pid })?;
        wait_for_go()?;
    }
    Ok(())
}

/// Reads a byte of the first file that was restored.
fn first_byte(order: &Order) -> Result<()> {
    for part in &order.parts {
        let failed = |err| OpError::io(format!("read {}", part.at), err);
        if let Some(path) = first_content(part.at.as_ref()).map_err(failed)? {
            let mut byte = [0];
            return fs::File::open(path)
                .and_then(|mut file| file.read_exact(&mut byte))
                .map_err(failed);
        }
    }
    Ok(())
}

/// Waits for the process outside; where that is gone, so is this one.
fn wait_for_go() -> Result<()> {
    let mut line = Vec::new();
    let read = read_line(&mut line);
    match read {
        Ok(()) if !line.is_empty() => Ok(()),
        _ => Err(OpError::Interrupted),
    }
}
