//! Work beside the threads that answer: bytes that the kernel will ask for are given to it before
//! it does, and blocks that will be wanted are decoded before they are.
//!
//! A store waits for pages that are being read, so it must never be made by a thread that answers
//! reads, nor under a lock. A store that fails is ignored: the kernel has dropped the file, or
//! never had it. What is stored was read as any read is, so it is verified, and all of the file.

use std::io;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender};
use fuser::{INodeNo, Notifier};

use super::adapter::guarded;
use super::turns::Turns;
use super::walks::SmallFile;
use crate::repo::AheadQueue;
use crate::vfs::{Ino, Vfs};

/// Lists of files that wait for being given; a reader that is so far ahead needs them no more.
const QUEUE: usize = 16;
/// Threads that decode ahead of readers.
const DECODERS_MAX: usize = 4;

/// Takes files that are to be given to the kernel. The threads end when it is dropped, each after
/// the file or block that it is at.
#[derive(Debug)]
pub(super) struct Pusher {
    files: Sender<Vec<SmallFile>>,
    blocks: Arc<AheadQueue>,
}

/// Its other end, for [`start`] once there is a kernel to talk to.
#[derive(Debug)]
pub(super) struct Work {
    files: Receiver<Vec<SmallFile>>,
    blocks: Arc<AheadQueue>,
}

impl Drop for Pusher {
    fn drop(&mut self) {
        self.blocks.end();
    }
}

impl Pusher {
    pub(super) fn new(vfs: &Vfs) -> (Self, Work) {
        let (sender, files) = crossbeam_channel::bounded(QUEUE);
        let blocks = Arc::new(vfs.repository().start_read_ahead());
        (Self { files: sender, blocks: Arc::clone(&blocks) }, Work { files, blocks })
    }

    /// Gives these files to the kernel soon, or not at all where too many wait.
    pub(super) fn push(&self, files: Vec<SmallFile>) {
        if !files.is_empty() {
            let _ = self.files.try_send(files);
        }
    }
}

/// Starts the threads.
pub(super) fn start(
    vfs: &Arc<Vfs>,
    turns: &Arc<Turns>,
    notifier: Notifier,
    work: Work,
) -> io::Result<()> {
    let decoders = thread::available_parallelism().map_or(1, usize::from).min(DECODERS_MAX);
    for number in 0..decoders {
        let (vfs, turns, blocks) = (Arc::clone(vfs), Arc::clone(turns), Arc::clone(&work.blocks));
        let decode = move || decode(&vfs, &turns, &blocks);
        thread::Builder::new().name(format!("ahead-{number}")).spawn(decode)?;
    }
    let (vfs, turns) = (Arc::clone(vfs), Arc::clone(turns));
    let give = move || give(&vfs, &turns, &notifier, &work);
    thread::Builder::new().name("push".into()).spawn(give)?;
    Ok(())
}

fn decode(vfs: &Vfs, turns: &Turns, blocks: &AheadQueue) {
    while let Some(next) = blocks.next() {
        let _busy = turns.busy();
        guarded("reading ahead", || vfs.repository().read_ahead(&next));
    }
}

fn give(vfs: &Vfs, turns: &Turns, notifier: &Notifier, work: &Work) {
    let mut buffer = Vec::new();
    for list in &work.files {
        let _busy = turns.busy();
        for file in list {
            if work.blocks.is_ended() {
                return;
            }
            buffer.resize(file.size as usize, 0);
            guarded("reading a file unasked", || {
                let read = vfs.read_at(Ino(file.ino), 0, &mut buffer);
                if read.is_ok_and(|count| count == buffer.len()) {
                    let _ = notifier.store(INodeNo(file.ino), 0, &buffer);
                }
            });
        }
    }
}
