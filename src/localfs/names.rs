//! The names of one directory, in byte order.
//!
//! A directory may have a million entries and more, and several are open at once while a tree is
//! walked. A million `Vec<u8>` are a million allocations and some 60 MB of headers and slack; here
//! all names lie in one arena, and a slot of 8 bytes each says where. Sorted and without doubles,
//! as format 1 demands of tree pages.

use std::io;

use crate::format::Kind;
use crate::format::limits;

/// Raw names of a directory's entries, sorted bytewise, none twice, without `.` and `..`.
#[derive(Debug, Default)]
pub struct Names {
    arena: Vec<u8>,
    slots: Vec<Slot>,
    too_long: Vec<Vec<u8>>,
}

/// One entry as the directory lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Raw name.
    pub name: &'a [u8],
    /// Its kind, where the file system tells while listing. A hint: it may have changed since.
    pub kind: Option<Kind>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    start: u32,
    len: u8,
    kind: Option<Kind>,
}

impl Names {
    /// How many names there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether the directory has no entries that can be stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The entry at `index` in byte order.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Entry<'_>> {
        self.slots.get(index).map(|&slot| self.entry(slot))
    }

    /// All entries in byte order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Entry<'_>> + DoubleEndedIterator {
        self.slots.iter().map(|&slot| self.entry(slot))
    }

    /// Whether `name` is among them.
    #[must_use]
    pub fn contains(&self, name: &[u8]) -> bool {
        self.slots.binary_search_by(|slot| bytes(&self.arena, slot).cmp(name)).is_ok()
    }

    /// Names over [`limits::NAME_MAX`] bytes, which no snapshot can hold (some foreign file systems
    /// allow them). They are not among the others: the caller reports them as troubles.
    #[must_use]
    pub fn too_long(&self) -> &[Vec<u8>] {
        &self.too_long
    }

    /// Adds a name; [`Self::finish`] puts it in its place.
    pub(super) fn push(&mut self, name: &[u8], kind: Option<Kind>) -> io::Result<()> {
        if name == b"." || name == b".." {
            return Ok(());
        }
        let (Ok(len), true) = (u8::try_from(name.len()), name.len() <= limits::NAME_MAX) else {
            self.too_long.push(name.to_vec());
            return Ok(());
        };
        let start = u32::try_from(self.arena.len())
            .map_err(|_| io::Error::other("names add up to more than 4 GiB"))?;
        self.arena.extend_from_slice(name);
        self.slots.push(Slot { start, len, kind });
        Ok(())
    }

    /// Sorts and drops doubles: a listing may show an entry twice while the directory changes.
    pub(super) fn finish(mut self) -> Self {
        let arena = &self.arena;
        self.slots.sort_unstable_by(|a, b| bytes(arena, a).cmp(bytes(arena, b)));
        self.slots.dedup_by(|a, b| bytes(arena, a) == bytes(arena, b));
        self.slots.shrink_to_fit();
        self.arena.shrink_to_fit();
        self
    }

    fn entry(&self, slot: Slot) -> Entry<'_> {
        Entry { name: bytes(&self.arena, &slot), kind: slot.kind }
    }
}

fn bytes<'a>(arena: &'a [u8], slot: &Slot) -> &'a [u8] {
    let start = slot.start as usize;
    arena.get(start..start + usize::from(slot.len)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_by_byte_and_never_double() {
        let mut names = Names::default();
        let listed: [&[u8]; 7] = [b"b", b".", b"\xff", b"a", b"..", b"b", b"A"];
        for name in listed {
            names.push(name, Some(Kind::File)).unwrap();
        }
        let names = names.finish();
        let sorted: Vec<&[u8]> = names.iter().map(|entry| entry.name).collect();
        assert_eq!(sorted, [b"A".as_slice(), b"a", b"b", b"\xff"]);
        assert!(names.contains(b"\xff") && !names.contains(b"c"));
        assert_eq!(names.get(1).unwrap().name, b"a");
    }

    #[test]
    fn names_over_the_limit_are_set_apart() {
        let mut names = Names::default();
        names.push(&[b'x'; 255], None).unwrap();
        names.push(&[b'x'; 256], None).unwrap();
        let names = names.finish();
        assert_eq!(names.len(), 1);
        assert_eq!(names.too_long(), [vec![b'x'; 256]]);
    }

    #[test]
    fn slot_takes_eight_bytes() {
        assert_eq!(size_of::<Slot>(), 8);
    }
}
