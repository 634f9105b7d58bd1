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
use crate::repo::NextBlocks;
use crate::vfs::{Ino, Vfs};

/// Lists of files that wait for being given; a reader that is so far ahead needs them no more.
const QUEUE: usize = 16;
/// Threads that decode ahead of readers.
const DECODERS_MAX: usize = 4;

/// Takes files that are to be given to the kernel. The threads end when it is dropped.
#[derive(Debug)]
pub(super) struct Pusher {
    files: Sender<Vec<SmallFile>>,
    vfs: Arc<Vfs>,
}

impl Drop for Pusher {
    fn drop(&mut self) {
        self.vfs.repository().stop_read_ahead();
    }
}

impl Pusher {
    /// Its other end is for [`Self::start`], once there is a kernel to talk to.
    pub(super) fn new(vfs: Arc<Vfs>) -> (Self, Receiver<Vec<SmallFile>>) {
        let (files, receiver) = crossbeam_channel::bounded(QUEUE);
        (Self { files, vfs }, receiver)
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
    files: Receiver<Vec<SmallFile>>,
) -> io::Result<()> {
    let decoders = thread::available_parallelism().map_or(1, usize::from).min(DECODERS_MAX);
    let blocks = vfs.repository().start_read_ahead();
    for number in 0..decoders {
        let (vfs, turns, blocks) = (Arc::clone(vfs), Arc::clone(turns), blocks.clone());
        let work = move || decode(&vfs, &turns, &blocks);
        thread::Builder::new().name(format!("ahead-{number}")).spawn(work)?;
    }
    let (vfs, turns) = (Arc::clone(vfs), Arc::clone(turns));
    let work = move || give(&vfs, &turns, &notifier, &files);
    thread::Builder::new().name("push".into()).spawn(work)?;
    Ok(())
}

fn decode(vfs: &Vfs, turns: &Turns, blocks: &Receiver<NextBlocks>) {
    for next in blocks {
        let _busy = turns.busy();
        guarded("reading ahead", || vfs.repository().read_ahead(&next));
    }
}

fn give(vfs: &Vfs, turns: &Turns, notifier: &Notifier, files: &Receiver<Vec<SmallFile>>) {
    let mut buffer = Vec::new();
    for list in files {
        let _busy = turns.busy();
        for file in list {
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
