//! Programs that are killed when this process ends, however it ends.
//!
//! The kernel ties that to the thread that started them (prctl(2), `PR_SET_PDEATHSIG`), so one thread
//! that lives as long as the process starts all of them.
//!
//! None does anything before its process number was told: it waits for that, already its own process,
//! and where this process is killed meanwhile it never begins.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use rustix::io::retry_on_intr;
use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};

use crate::sync::lock;

/// Something to start, and where its child is awaited.
type Order = (Command, SyncSender<io::Result<Child>>);

/// What a process that waits is told; where it is told nothing it never begins.
const GO: u8 = 1;

/// The way to a process that waits. The process has it as well, so only this ends its waiting.
struct Gate(UnixStream);

impl Drop for Gate {
    fn drop(&mut self) {
        // It is gone already where that fails.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// Starts it once `told` has had the number of its process. What it starts itself is not tied, nor is
/// it where it changes who it is.
///
/// # Errors
/// As [`Command::spawn`], and of `told`: then it does nothing.
pub(super) fn spawn(
    mut command: Command,
    told: impl FnOnce(i32) -> io::Result<()>,
) -> io::Result<Child> {
    let parent = getpid();
    let (ours, theirs) = UnixStream::pair()?;
    let mut ours = Gate(ours);
    // SAFETY: between fork and exec only system calls are made, and nothing is allocated.
    #[expect(unsafe_code)]
    unsafe {
        command.pre_exec(move || tie(parent).and_then(|()| wait(&theirs)));
    }
    let (answer, child) = sync_channel(1);
    let gone = || io::Error::other("the thread that starts programs is gone");
    starter()?.send((command, answer)).map_err(|_| gone())?;
    let mut number = [0; 4];
    // Where there is no process, nobody says which; the answer tells why.
    let told = match ours.0.read_exact(&mut number) {
        Ok(()) => told(i32::from_le_bytes(number)),
        Err(_) => Ok(()),
    };
    if told.is_ok() {
        // It may have ended already.
        let _ = ours.0.write_all(&[GO]);
    }
    drop(ours);
    let child = child.recv().map_err(|_| gone())?;
    told.and(child)
}

fn tie(parent: Pid) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have ended before that.
    match getppid() == Some(parent) {
        true => Ok(()),
        false => Err(rustix::io::Errno::SRCH.into()),
    }
}

/// Says which process this is, and waits until that was heard.
fn wait(parent: &UnixStream) -> io::Result<()> {
    let number = getpid().as_raw_pid().to_le_bytes();
    retry_on_intr(|| rustix::io::write(parent, &number))?;
    let mut word = [0];
    retry_on_intr(|| rustix::io::read(parent, &mut word))?;
    if word == [GO] { Ok(()) } else { Err(rustix::io::Errno::CANCELED.into()) }
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
