//! Snapshots that come and go are seen at once where the repository is a folder of this machine:
//! a thread waits for the kernel's word (inotify) on the folders of snapshots and of what is
//! forgotten, and lets the tree look.
//!
//! Nothing is pushed into the kernel, so there is nothing to wait in a circle for: what depends on
//! the snapshots is kept by it for a second only. Where a folder cannot be watched, or is changed
//! from another machine, the tree looks for itself when it is looked at, once a second; so it does
//! for new tags, which are a folder deeper.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use crate::format::Folder;
use crate::vfs::Vfs;

/// Ends the watching when dropped.
#[derive(Debug)]
pub(super) struct Watch {
    stop: Arc<OwnedFd>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Err(err) = rustix::io::write(&*self.stop, &[1; 8]) {
            tracing::debug!("the thread that watches for snapshots stays: {err}");
        }
    }
}

/// Watches for snapshots as long as the result lives; `None` where that cannot be done, or where
/// one snapshot is shown whatever comes.
pub(super) fn watch(vfs: &Arc<Vfs>) -> Option<Watch> {
    if !vfs.follows() {
        return None;
    }
    let folder = vfs.repository().folder_path(Folder::Snapshots)?;
    let forgotten = vfs.repository().folder_path(Folder::Forgotten)?;
    match start([&folder, &forgotten], Arc::clone(vfs)) {
        Ok(watch) => Some(watch),
        Err(err) => {
            tracing::warn!("{} is not watched, but looked at: {err}", folder.display());
            None
        }
    }
}

fn start(folders: [&Path; 2], vfs: Arc<Vfs>) -> io::Result<Watch> {
    let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let which = WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MOVED_FROM
        | WatchFlags::MOVED_TO
        | WatchFlags::ONLYDIR;
    let [snapshots, forgotten] = folders;
    inotify::add_watch(&events, snapshots, which)?;
    if let Err(err) = inotify::add_watch(&events, forgotten, which) {
        // A repository that was copied without its empty folders.
        tracing::debug!("{} is not watched, but looked at: {err}", forgotten.display());
    }
    let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
    let stopped = Arc::clone(&stop);
    let serve = move || {
        // Something may have come between the first look and the watch.
        vfs.refresh();
        if let Err(err) = serve(&events, &stopped, &vfs) {
            tracing::warn!("snapshots are no longer watched, but looked for: {err}");
        }
    };
    std::thread::Builder::new().name("snapshots".into()).spawn(serve)?;
    Ok(Watch { stop })
}

/// Waits and lets the tree look, until it is told to stop or a folder is gone.
fn serve(events: &OwnedFd, stop: &OwnedFd, vfs: &Vfs) -> io::Result<()> {
    loop {
        let mut waited = [PollFd::new(events, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
        match poll(&mut waited, None) {
            Err(Errno::INTR) => continue,
            result => result?,
        };
        let [events_ready, stopped] = waited.map(|fd| !fd.revents().is_empty());
        if stopped {
            return Ok(());
        }
        if events_ready {
            drain(events)?;
            vfs.refresh();
        }
    }
}

/// Takes all events there are: that there were any is all that matters.
fn drain(events: &OwnedFd) -> io::Result<()> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(events, &mut buffer);
    loop {
        match reader.next() {
            Ok(event) if event.events().contains(ReadFlags::IGNORED) => {
                return Err(io::Error::other("the folder was removed or unmounted"));
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) => return Ok(()),
            Err(err) => return Err(err.into()),
        }
    }
}

#[cfg(test)]
mod tests;
