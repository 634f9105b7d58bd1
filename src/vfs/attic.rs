//! Directories and hard-linked inodes that the kernel has forgotten and a handle may still name.
//!
//! A network server hands out inode numbers as handles, and a client may come back with one after
//! the kernel dropped it from its caches. A file's number leads to its page through the index; those
//! of directories and hard links are hashes, so the last of them are remembered here for a while.
//! What must stay true: bounded, whatever the kernel forgets.

use std::num::NonZeroUsize;
use std::sync::Mutex;

use lru::LruCache;

use crate::sync::lock;

use super::Ino;
use super::inode::{Directory, Link};

/// About 4 MiB when full.
const ENTRIES_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add((1 << 15) - 1);

/// What a number meant.
#[derive(Debug, Clone)]
pub(super) enum Gone {
    Directory(Directory),
    Link(Link),
}

#[derive(Debug)]
pub(super) struct Attic(Mutex<LruCache<Ino, Gone>>);

impl Attic {
    pub(super) fn new() -> Self {
        Self(Mutex::new(LruCache::new(ENTRIES_MAX)))
    }

    pub(super) fn put(&self, ino: Ino, gone: Gone) {
        lock(&self.0).put(ino, gone);
    }

    pub(super) fn get(&self, ino: Ino) -> Option<Gone> {
        lock(&self.0).get(&ino).cloned()
    }
}
