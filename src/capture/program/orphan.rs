//! Programs that are killed when this process ends, however it ends.
//!
//! The kernel ties that to the thread that started them (prctl(2), `PR_SET_PDEATHSIG`), so one thread
//! that lives as long as the process starts all of them.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};

use crate::sync::lock;

/// Something to start, and where its child is awaited.
type Order = (Command, SyncSender<io::Result<Child>>);

/// Starts it. What it starts itself is not tied, nor is it where it changes who it is.
///
/// # Errors
/// As [`Command::spawn`].
pub(super) fn spawn(mut command: Command) -> io::Result<Child> {
    let parent = getpid();
    // SAFETY: between fork and exec only system calls are made, and nothing is allocated.
    #[expect(unsafe_code)]
    unsafe {
        command.pre_exec(move || tie(parent));
    }
    let (answer, child) = sync_channel(1);
    let gone = || io::Error::other("the thread that starts programs is gone");
    starter()?.send((command, answer)).map_err(|_| gone())?;
    child.recv().map_err(|_| gone())?
}

fn tie(parent: Pid) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have ended before that.
    match getppid() == Some(parent) {
        true => Ok(()),
        false => Err(rustix::io::Errno::SRCH.into()),
    }
}

/// The way to the thread, which is started when it is needed first.
fn starter() -> io::Result<Sender<Order>> {
    static STARTER: Mutex<Option<Sender<Order>>> = Mutex::new(None);
    let mut starter = lock(&STARTER);
    if let Some(starter) = &*starter {
        return Ok(starter.clone());
    }
    let (sender, orders) = channel();
    std::thread::Builder::new().name("programs".to_owned()).spawn(move || serve(&orders))?;
    Ok(starter.insert(sender).clone())
}

fn serve(orders: &Receiver<Order>) {
    for (mut command, answer) in orders {
        // Whoever waits no more has dropped it.
        let _ = answer.send(command.spawn());
    }
}
