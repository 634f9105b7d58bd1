//! The kernel's word that something came into a folder or went (inotify(7)).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

/// A folder whose entries are watched.
#[derive(Debug)]
pub struct FolderWatch {
    events: OwnedFd,
}

impl FolderWatch {
    /// Watches from now on.
    pub fn new(folder: &Path) -> io::Result<Self> {
        let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let which = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        inotify::add_watch(&events, folder, which)?;
        Ok(Self { events })
    }

    /// Waits for at most `longest`; whether something came since the last time this said so. A
    /// signal ends the wait early.
    pub fn wait(&self, longest: Duration) -> io::Result<bool> {
        let longest = Timespec {
            tv_sec: i64::try_from(longest.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(longest.subsec_nanos()),
        };
        let mut waited = [PollFd::new(&self.events, PollFlags::IN)];
        match poll(&mut waited, Some(&longest)) {
            Ok(0) | Err(Errno::INTR) => return Ok(false),
            Ok(_) => {}
            Err(err) => return Err(err.into()),
        }
        self.drain()?;
        Ok(true)
    }

    fn drain(&self) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.events, &mut buffer);
        loop {
            match events.next() {
                Ok(event) if event.events().contains(ReadFlags::IGNORED) => {
                    return Err(io::Error::other("the folder was removed or unmounted"));
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(err) => return Err(err.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let watch = FolderWatch::new(folder.path()).unwrap();
        assert!(!watch.wait(Duration::ZERO).unwrap());
        std::fs::write(folder.path().join("a"), b"").unwrap();
        std::fs::rename(folder.path().join("a"), folder.path().join("b")).unwrap();
        assert!(watch.wait(Duration::from_secs(10)).unwrap());
        assert!(!watch.wait(Duration::ZERO).unwrap());
        assert!(FolderWatch::new(&folder.path().join("missing")).is_err());
    }
}
