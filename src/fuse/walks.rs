//! Which files a reader is about to want: small ones of directories that it lists and reads.
//!
//! A directory's files are noted as they are listed. Who then reads the first files of it will read
//! the others; who did so in the directories before will do so in the next one. What comes out are
//! lists of files whose bytes can be given to the kernel unasked (see `push`). A plain `find` reads
//! nothing, so nothing is given to it, but for what follows a walk that did read: each directory
//! that is given unasked costs one of [`TRUST_MAX`] points, and reads earn them back.
//!
//! What must stay true: a file comes out only after the kernel has it in a listing that it has
//! taken in (it has asked for what comes after it); a file comes out once for each listing.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Mutex;

use lru::LruCache;

use crate::sync::lock;

/// Largest file that is given unasked: larger ones are read ahead by the kernel.
pub(super) const SMALL_MAX: u64 = 256 << 10;
/// Bytes given at once; a reader that gets there asks for the next file and so gets more.
const GIVEN_MAX: u64 = 16 << 20;
/// Files noted of one directory; of those beyond none is given.
const FILES_MAX: usize = 16 << 10;
const DIRECTORIES_MAX: NonZeroUsize = NonZeroUsize::new(16).unwrap();
/// Directories that are given unasked after the last read.
const TRUST_MAX: u32 = 8;
/// Reads in the order of the listing after which the rest of a directory is given.
const READS_MIN: u32 = 2;

/// Files that a reader may leave out and still reads in the order of the listing.
const SKIPPED_MAX: usize = 16;

/// A small regular file, by its inode number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SmallFile {
    pub(super) ino: u64,
    /// Bytes; not 0.
    pub(super) size: u64,
}

/// A directory that was listed.
#[derive(Debug, Default)]
struct Listed {
    /// In the order of the listing.
    files: Vec<SmallFile>,
    /// How many of them the kernel has taken in.
    known: usize,
    /// How many of them were given.
    given: usize,
    reads: u32,
    /// The file after the one that was read last.
    next: usize,
}

#[derive(Debug)]
struct State {
    listed: LruCache<u64, Listed>,
    /// Directory and position of each file.
    places: HashMap<u64, (u64, usize)>,
    trust: u32,
}

/// Directories that were listed lately, and how they are read.
#[derive(Debug)]
pub(super) struct Walks(Mutex<State>);

impl Walks {
    pub(super) fn new() -> Self {
        let listed = LruCache::new(DIRECTORIES_MAX);
        Self(Mutex::new(State { listed, places: HashMap::new(), trust: 0 }))
    }

    /// The kernel was given the entries of a directory from `offset` on, `files` among them and
    /// maybe nothing at all. What is to be given of those it had before.
    pub(super) fn listed(
        &self,
        dir: u64,
        offset: u64,
        files: &[SmallFile],
        end: bool,
    ) -> Vec<SmallFile> {
        lock(&self.0).listed(dir, offset, files, end)
    }

    /// A file was read from its start. What is to be given with it.
    pub(super) fn read(&self, ino: u64) -> Vec<SmallFile> {
        lock(&self.0).read(ino)
    }
}

impl State {
    fn listed(&mut self, dir: u64, offset: u64, files: &[SmallFile], end: bool) -> Vec<SmallFile> {
        if offset == 0 {
            self.forget(dir);
        }
        if self.listed.len() == DIRECTORIES_MAX.get()
            && !self.listed.contains(&dir)
            && let Some((_, old)) = self.listed.pop_lru()
        {
            self.forget_files(&old);
        }
        let listed = self.listed.get_or_insert_mut(dir, Listed::default);
        listed.known = listed.files.len();
        let room = FILES_MAX - listed.files.len();
        for file in files.iter().take(room) {
            self.places.insert(file.ino, (dir, listed.files.len()));
            listed.files.push(*file);
        }
        if end && self.trust > 0 && listed.given < listed.known {
            self.trust -= 1;
            return listed.give(0);
        }
        Vec::new()
    }

    fn read(&mut self, ino: u64) -> Vec<SmallFile> {
        let Some(&(dir, at)) = self.places.get(&ino) else { return Vec::new() };
        let Some(listed) = self.listed.get_mut(&dir) else { return Vec::new() };
        // What was given is not asked for; and some skip a few files, those that they have.
        let expected = listed.next..listed.next.max(listed.given) + SKIPPED_MAX;
        let in_order = expected.contains(&at);
        listed.reads = if in_order { listed.reads + 1 } else { 0 };
        listed.next = at + 1;
        if listed.reads >= READS_MIN || (in_order && at + 1 == listed.files.len()) {
            self.trust = TRUST_MAX;
        }
        if listed.reads >= READS_MIN && at >= listed.given {
            listed.give(at + 1)
        } else {
            Vec::new()
        }
    }

    fn forget(&mut self, dir: u64) {
        if let Some(old) = self.listed.pop(&dir) {
            self.forget_files(&old);
        }
    }

    fn forget_files(&mut self, old: &Listed) {
        for file in &old.files {
            self.places.remove(&file.ino);
        }
    }
}

impl Listed {
    /// Files from a position on that were not given yet.
    fn give(&mut self, from: usize) -> Vec<SmallFile> {
        let from = from.max(self.given);
        let files = self.files.get(from..self.known).unwrap_or_default();
        let mut bytes = 0;
        let given = files.iter().take_while(|file| {
            bytes += file.size;
            bytes <= GIVEN_MAX
        });
        let given: Vec<_> = given.copied().collect();
        self.given = from + given.len();
        given
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(dir: u64, count: u64) -> Vec<SmallFile> {
        (0..count).map(|n| SmallFile { ino: dir << 20 | n, size: 1000 }).collect()
    }

    fn list(walks: &Walks, dir: u64, count: u64) -> Vec<SmallFile> {
        let files = files(dir, count);
        let (left, right) = files.split_at(files.len() / 2);
        assert!(walks.listed(dir, 0, left, false).is_empty());
        assert!(walks.listed(dir, 7, right, false).is_empty());
        walks.listed(dir, 9, &[], true)
    }

    #[test]
    fn who_only_lists_is_given_nothing() {
        let walks = Walks::new();
        for dir in 1..100 {
            assert!(list(&walks, dir, 50).is_empty());
        }
        let state = lock(&walks.0);
        assert_eq!(state.places.len(), 50 * DIRECTORIES_MAX.get());
    }

    #[test]
    fn second_file_read_brings_the_others_and_the_next_directories() {
        let walks = Walks::new();
        list(&walks, 1, 50);
        let first = files(1, 50);
        assert!(walks.read(first[0].ino).is_empty());
        assert_eq!(walks.read(first[1].ino), first[2..]);
        // Read before it was there: no more than once.
        assert!(walks.read(first[2].ino).is_empty());
        for dir in 2..2 + u64::from(TRUST_MAX) {
            assert_eq!(list(&walks, dir, 50), files(dir, 50));
        }
        assert!(list(&walks, 90, 50).is_empty());
        // Two reads, and it goes on.
        let next = files(90, 50);
        assert!(walks.read(next[0].ino).is_empty());
        assert_eq!(walks.read(next[1].ino).len(), 48);
        assert_eq!(list(&walks, 91, 50).len(), 50);
    }

    #[test]
    fn reads_in_no_order_bring_nothing() {
        let walks = Walks::new();
        list(&walks, 1, 5000);
        let all = files(1, 5000);
        for at in [4000, 100, 3000, 2000, 2500, 17, 999] {
            assert!(walks.read(all[at].ino).is_empty());
        }
        assert!(list(&walks, 2, 50).is_empty());
    }

    #[test]
    fn bytes_are_bounded_and_who_reads_on_gets_more() {
        let walks = Walks::new();
        let big: Vec<_> =
            (0..1000).map(|n| SmallFile { ino: 5 << 20 | n, size: SMALL_MAX }).collect();
        walks.listed(5, 0, &big, false);
        // Nothing is known to have arrived before the next question.
        walks.read(big[0].ino);
        assert!(walks.read(big[1].ino).is_empty());
        let mut at = 2 + walks.listed(5, 900, &[], true).len();
        assert_eq!(at, 2 + (GIVEN_MAX / SMALL_MAX) as usize);
        while at < big.len() {
            let given = walks.read(big[at].ino);
            let bytes: u64 = given.iter().map(|file| file.size).sum();
            assert!(bytes <= GIVEN_MAX && (!given.is_empty() || at + 1 == big.len()), "{at}");
            assert_eq!(given, big[at + 1..at + 1 + given.len()]);
            at += 1 + given.len();
        }
    }

    #[test]
    fn listing_again_starts_over() {
        let walks = Walks::new();
        list(&walks, 1, 50);
        let first = files(1, 50);
        walks.read(first[0].ino);
        assert_eq!(walks.read(first[1].ino).len(), 48);
        assert_eq!(list(&walks, 1, 50).len(), 50);
        let state = lock(&walks.0);
        assert_eq!((state.places.len(), state.listed.len()), (50, 1));
    }
}
