//! Inode numbers: what they are made of, and the tables that lead from them to nodes.
//!
//! ```text
//! bit 63   62..60       59..0
//!      0   class        payload
//!          0 virtual    1 is the root; others a hash of the path (and a link's target)
//!          1 file       first 50 bits of the tree page's ChunkId, then 10 bits: node in the page
//!          2 directory  hash of the parent's number and the name
//!          3 hard link  hash of the snapshot and the link group
//!          4 view       hash of what it shows: see `views`
//! ```
//! So equal tree pages give equal file numbers in all snapshots and over remounts, and the kernel
//! keeps one page cache for them; a page lists the source's inode and ctime of each node, so equal
//! pages mean the same files. Directories have one number per place, since the kernel allows no
//! aliases of them. Names of one hard-linked inode have one number in a snapshot, never beyond it.
//!
//! What must stay true: two different things never share a number. A number that is taken by
//! something else is passed over (the next free one is used) for as long as the kernel holds it.
//! The tables have an entry per tree page, directory, hard-linked inode and view that the kernel
//! remembers, none per file; an entry goes when the kernel has forgotten all that led to it.

use std::fmt;
use std::sync::Arc;

use crate::format::{ChunkId, limits};
use crate::repo::NodeRef;

use super::attic::{Attic, Gone};
use super::snapshots::SnapshotRoot;
use super::table::{Same, Table};
use super::views::View;

const PAYLOAD_BITS: u32 = 60;
const NUMBER_BITS: u32 = 10;
const PAGE_BITS: u32 = PAYLOAD_BITS - NUMBER_BITS;

const _: () = assert!(limits::PAGE_ENTRIES_MAX <= 1 << NUMBER_BITS);

/// The number of a node; what st_ino shows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ino(pub u64);

impl fmt::Debug for Ino {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ino({:#x})", self.0)
    }
}

/// What a number belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Virtual,
    /// A node in a page: the page's key, and the node's number in it.
    File {
        key: u64,
        number: usize,
    },
    Directory,
    Link,
    View,
}

impl Ino {
    /// The root of the mount.
    pub const ROOT: Self = Self(1);

    const fn payload(self) -> u64 {
        self.0 & mask(PAYLOAD_BITS)
    }

    pub(super) const fn class(self) -> Option<Class> {
        match self.0 >> PAYLOAD_BITS {
            0 => Some(Class::Virtual),
            1 => {
                let number = (self.0 & mask(NUMBER_BITS)) as usize;
                Some(Class::File { key: self.payload() >> NUMBER_BITS, number })
            }
            2 => Some(Class::Directory),
            3 => Some(Class::Link),
            4 => Some(Class::View),
            _ => None,
        }
    }

    const fn file(key: u64, number: usize) -> Self {
        Self(1 << PAYLOAD_BITS | key << NUMBER_BITS | number as u64 & mask(NUMBER_BITS))
    }

    /// The number of something that no snapshot holds, by its path (and target).
    pub(super) fn of_virtual(path: &[u8], target: &[u8]) -> Self {
        // 0 and 1 are taken by the kernel and the root.
        Self(hash(&[b"virtual", path, target]).max(2))
    }
}

pub(super) const fn mask(bits: u32) -> u64 {
    (1 << bits) - 1
}

/// The first bits of a hash over the parts and their lengths.
pub(super) fn hash(parts: &[&[u8]]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    leading_bits(hasher.finalize().as_bytes(), PAYLOAD_BITS)
}

/// The first `bits` of some bytes, so that a prefix search in a sorted index can lead back.
fn leading_bits(bytes: &[u8; 32], bits: u32) -> u64 {
    let first = bytes.iter().take(8).fold(0, |number, &byte| number << 8 | u64::from(byte));
    first >> (u64::BITS - bits)
}

/// What the number of a snapshot's root is made of.
fn of_snapshot(snapshot: &SnapshotRoot) -> u64 {
    hash(&[b"snapshot", snapshot.id.as_bytes()])
}

/// The number that a snapshot's root should have.
pub(super) fn of_root(snapshot: &SnapshotRoot) -> Ino {
    Ino(2 << PAYLOAD_BITS | of_snapshot(snapshot))
}

/// The number that the directory of that name in its parent should have.
pub(super) fn of_directory(parent: Ino, name: &[u8]) -> Ino {
    Ino(2 << PAYLOAD_BITS | hash(&[b"directory", &parent.0.to_le_bytes(), name]))
}

/// The number that a hard-linked inode should have.
pub(super) fn of_link(snapshot: &SnapshotRoot, group: u64) -> Ino {
    Ino(3 << PAYLOAD_BITS | hash(&[b"link", snapshot.id.as_bytes(), &group.to_le_bytes()]))
}

/// Whether a number is that of a snapshot's root.
pub(super) fn is_snapshot(ino: Ino, snapshot: &SnapshotRoot) -> bool {
    ino == of_root(snapshot)
}

/// The lowest id of a page whose files have this key.
pub(super) fn lowest_page(key: u64) -> ChunkId {
    let first = key << (u64::BITS - PAGE_BITS);
    let mut id = [0; 32];
    for (byte, shift) in id.iter_mut().zip((0..u64::BITS).step_by(8).rev()) {
        *byte = (first >> shift) as u8;
    }
    ChunkId(id)
}

/// Whether the files of a page have this key.
pub(super) fn has_key(page: &ChunkId, key: u64) -> bool {
    leading_bits(page.as_bytes(), PAGE_BITS) == key
}

/// A node's place in a tree page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) page: ChunkId,
    pub(super) number: u16,
}

/// A directory that the kernel knows.
#[derive(Debug, Clone)]
pub(super) struct Directory {
    pub(super) parent: Ino,
    pub(super) snapshot: Arc<SnapshotRoot>,
    /// `None` is the snapshot's root.
    pub(super) place: Option<Place>,
}

impl Directory {
    /// A snapshot's root, at its place among all snapshots.
    pub(super) fn of_snapshot(snapshot: Arc<SnapshotRoot>) -> Self {
        Self { parent: Ino::of_virtual(b"snapshots", b""), snapshot, place: None }
    }

    /// A directory in this one, by its node.
    pub(super) fn child(&self, parent: Ino, node: &NodeRef) -> Option<Self> {
        let place = Place { page: node.page?, number: node.number as u16 };
        Some(Self { parent, snapshot: Arc::clone(&self.snapshot), place: Some(place) })
    }
}

/// A hard-linked inode that the kernel knows.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) snapshot: Arc<SnapshotRoot>,
    pub(super) group: u64,
    /// Its name that was met first: its node speaks for all of them.
    pub(super) place: Place,
}

impl Same for ChunkId {
    fn same(&self, other: &Self) -> bool {
        self == other
    }
}

impl Same for Directory {
    fn same(&self, other: &Self) -> bool {
        self.parent == other.parent
            && self.place == other.place
            && self.snapshot.id == other.snapshot.id
    }
}

impl Same for Link {
    fn same(&self, other: &Self) -> bool {
        self.group == other.group && self.snapshot.id == other.snapshot.id
    }
}

/// Everything whose number the kernel remembers.
#[derive(Debug)]
pub(super) struct Inodes {
    pages: Table<ChunkId>,
    directories: Table<Directory>,
    links: Table<Link>,
    views: Table<View>,
    gone: Attic,
}

impl Inodes {
    pub(super) fn new() -> Self {
        Self {
            pages: Table::new(PAGE_BITS),
            directories: Table::new(PAYLOAD_BITS),
            links: Table::new(PAYLOAD_BITS),
            views: Table::new(PAYLOAD_BITS),
            gone: Attic::new(),
        }
    }

    /// The number of a node that is neither a directory nor hard-linked.
    pub(super) fn hold_file(&self, place: Place) -> Ino {
        let (key, _) = self.pages.hold(leading_bits(place.page.as_bytes(), PAGE_BITS), place.page);
        Ino::file(key, place.number.into())
    }

    /// The number of the directory that goes by `name` in its parent.
    pub(super) fn hold_directory(&self, name: &[u8], directory: Directory) -> Ino {
        let wish = match directory.place {
            None => of_root(&directory.snapshot),
            Some(_) => of_directory(directory.parent, name),
        };
        let (number, _) = self.directories.hold(wish.payload(), directory);
        Ino(2 << PAYLOAD_BITS | number)
    }

    /// The number of a hard-linked inode, and the place of the node that speaks for it.
    pub(super) fn hold_link(&self, link: Link) -> (Ino, Place) {
        let wish = of_link(&link.snapshot, link.group);
        let (number, link) = self.links.hold(wish.payload(), link);
        (Ino(3 << PAYLOAD_BITS | number), link.place)
    }

    /// The number of something that is in a view only.
    pub(super) fn hold_view(&self, view: View) -> Ino {
        let (number, _) = self.views.hold(view.wish(), view);
        Ino(4 << PAYLOAD_BITS | number)
    }

    pub(super) fn view(&self, ino: Ino) -> Option<View> {
        self.views.get(ino.payload())
    }

    pub(super) fn page(&self, key: u64) -> Option<ChunkId> {
        self.pages.get(key)
    }

    pub(super) fn directory(&self, ino: Ino) -> Option<Directory> {
        self.directories.get(ino.payload())
    }

    pub(super) fn link(&self, ino: Ino) -> Option<Link> {
        self.links.get(ino.payload())
    }

    /// Takes back look-ups of a number.
    pub(super) fn forget(&self, ino: Ino, lookups: u64) {
        match ino.class() {
            Some(Class::File { key, .. }) => drop(self.pages.forget(key, lookups)),
            Some(Class::Directory) => {
                let gone = self.directories.forget(ino.payload(), lookups);
                gone.into_iter().for_each(|it| self.gone.put(ino, Gone::Directory(it)));
            }
            Some(Class::Link) => {
                let gone = self.links.forget(ino.payload(), lookups);
                gone.into_iter().for_each(|it| self.gone.put(ino, Gone::Link(it)));
            }
            Some(Class::View) => drop(self.views.forget(ino.payload(), lookups)),
            Some(Class::Virtual) | None => {}
        }
    }

    /// What a number meant that the kernel has forgotten, as far as it is remembered here.
    pub(super) fn gone(&self, ino: Ino) -> Option<Gone> {
        self.gone.get(ino)
    }

    /// Remembers what a number means, as if the kernel had forgotten it.
    pub(super) fn remember(&self, ino: Ino, what: Gone) {
        self.gone.put(ino, what);
    }

    /// Entries of all tables.
    pub(super) fn len(&self) -> usize {
        self.pages.len() + self.directories.len() + self.links.len() + self.views.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(last: u8) -> ChunkId {
        let mut id = [7; 32];
        id[31] = last;
        ChunkId(id)
    }

    #[test]
    fn pages_whose_ids_start_alike_get_different_numbers() {
        let inodes = Inodes::new();
        let place = |last, number| Place { page: page(last), number };
        let first = inodes.hold_file(place(1, 0));
        let second = inodes.hold_file(place(2, 0));
        assert_ne!(first, second);
        assert_eq!(inodes.hold_file(place(1, 0)), first);
        assert_eq!(inodes.hold_file(place(2, 1023)).0, second.0 + 1023);
        for (ino, last) in [(first, 1), (second, 2)] {
            let Some(Class::File { key, number: 0 }) = ino.class() else { panic!("{ino:?}") };
            assert_eq!(inodes.page(key), Some(page(last)));
        }
    }

    #[test]
    fn the_key_of_a_page_leads_back_to_it() {
        for id in [page(9), ChunkId([0xff; 32]), ChunkId([0; 32])] {
            let key = leading_bits(id.as_bytes(), PAGE_BITS);
            let lowest = lowest_page(key);
            assert!(lowest <= id && has_key(&lowest, key) && has_key(&id, key));
            assert!(!has_key(&id, key ^ 1));
        }
    }

    #[test]
    fn an_entry_lives_as_long_as_one_lookup_is_not_forgotten() {
        let inodes = Inodes::new();
        let place = |number| Place { page: page(1), number };
        let (a, b) = (inodes.hold_file(place(3)), inodes.hold_file(place(4)));
        inodes.forget(a, 1);
        assert_eq!(inodes.len(), 1);
        inodes.forget(b, 1);
        assert_eq!(inodes.len(), 0);
        inodes.forget(b, 1);
        inodes.forget(Ino(u64::MAX), 1);
        inodes.forget(Ino::ROOT, 1);
    }

    #[test]
    fn numbers_are_positive_as_signed_and_keep_their_class() {
        let ino = Ino::file(mask(PAGE_BITS), 1023);
        assert!(ino.0 < 1 << 63);
        assert_eq!(ino.class(), Some(Class::File { key: mask(PAGE_BITS), number: 1023 }));
        assert_eq!(Ino::of_virtual(b"a", b"").class(), Some(Class::Virtual));
        assert_eq!(Ino(5 << PAYLOAD_BITS).class(), None);
    }
}
