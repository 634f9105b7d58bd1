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
/// Most directories that are given unasked after the last one that was read.
const TRUST_MAX: u32 = 8;
/// Reads after which the rest of a directory is given.
const READS_MIN: usize = 2;
/// Files that a reader may leave out at once; who leaves out more begins anew.
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
    reads: usize,
    /// Files left out between those that were read.
    skipped: usize,
    /// The file after the one that was read last.
    next: usize,
    /// Whether it was seen to be read.
    is_read: bool,
}

#[derive(Debug)]
struct State {
    listed: LruCache<u64, Listed>,
    /// Directory and position of each file.
    places: HashMap<u64, (u64, usize)>,
    /// Directories that may still be given unasked.
    trust: u32,
    /// What `trust` was after the last directory that was read.
    earned: u32,
}

/// Directories that were listed lately, and how they are read.
#[derive(Debug)]
pub(super) struct Walks(Mutex<State>);

impl Walks {
    pub(super) fn new() -> Self {
        let listed = LruCache::new(DIRECTORIES_MAX);
        Self(Mutex::new(State { listed, places: HashMap::new(), trust: 0, earned: 0 }))
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
            if !old.is_read && old.given == 0 && !old.files.is_empty() {
                self.earned /= 2;
            }
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
        let whole = listed.was_read(at);
        if whole
            && !listed.is_read
            && (listed.reads >= READS_MIN || listed.next == listed.files.len())
        {
            listed.is_read = true;
            self.earned = (self.earned * 2).clamp(1, TRUST_MAX);
        }
        if listed.is_read && whole {
            self.trust = self.earned;
        }
        if whole && listed.reads >= READS_MIN && at >= listed.given {
            listed.give(listed.next)
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
    /// Notes a read. Whether so far most of the directory is read.
    fn was_read(&mut self, at: usize) -> bool {
        // What was given is not asked for.
        let expected = self.next.max(self.given);
        match at.checked_sub(expected) {
            Some(skipped) if skipped > SKIPPED_MAX => (self.reads, self.skipped) = (0, 0),
            Some(skipped) => (self.reads, self.skipped) = (self.reads + 1, self.skipped + skipped),
            // One of those that seemed left out, where several read; or read once more.
            None => self.skipped = self.skipped.saturating_sub(1),
        }
        self.next = expected.max(at + 1);
        self.reads > self.skipped
    }

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

    /// Reads what it is not given.
    fn read_all(walks: &Walks, dir: u64, count: u64) {
        let mut given = list(walks, dir, count);
        for file in files(dir, count) {
            if !given.contains(&file) {
                given.extend(walks.read(file.ino));
            }
        }
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
        assert_eq!(list(&walks, 2, 50), files(2, 50));
        assert!(list(&walks, 3, 50).is_empty());
    }

    #[test]
    fn the_more_directories_are_read_the_more_are_given_unasked() {
        let walks = Walks::new();
        let mut unasked = Vec::new();
        for dir in 1..40 {
            let given = list(&walks, dir, 50).len();
            if given == 0 {
                files(dir, 2).iter().for_each(|file| drop(walks.read(file.ino)));
                unasked.push(0);
            } else if let Some(last) = unasked.last_mut() {
                assert_eq!(given, 50);
                *last += 1;
            }
        }
        assert_eq!(unasked, [1, 2, 4, 8, 8, 8, 1]);
    }

    #[test]
    fn who_picks_files_is_given_nothing() {
        let walks = Walks::new();
        for dir in 1..50 {
            list(&walks, dir, 60);
            for file in files(dir, 60).iter().skip(1).step_by(4) {
                assert!(walks.read(file.ino).is_empty());
            }
        }
        // And earns little by the directories of which it happens to want all.
        let mut unasked = 0;
        for dir in 50..100 {
            match dir % 10 {
                0 => read_all(&walks, dir, 5),
                _ => unasked += usize::from(!list(&walks, dir, 60).is_empty()),
            }
        }
        assert!((1..=10).contains(&unasked), "{unasked} directories");
    }

    #[test]
    fn who_leaves_out_a_few_is_given_the_others() {
        let walks = Walks::new();
        list(&walks, 1, 50);
        let all = files(1, 50);
        assert!(walks.read(all[1].ino).is_empty());
        // Two threads, one of them late.
        assert!(walks.read(all[3].ino).is_empty());
        assert_eq!(walks.read(all[2].ino), all[4..]);
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
