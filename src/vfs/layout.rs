//! The few directories and links above the snapshots, as an immutable picture of one moment.
//!
//! ```text
//! /latest                    -> snapshots/<name>, absent in an empty repository
//! /snapshots/<name>/…        a snapshot's root; name: 2026-11-22T150405Z-<8 hex digits of its id>
//! /hosts/<host>/<name>       -> ../../snapshots/<name>
//! /tags/<tag>/<name>         -> ../../snapshots/<name>
//! ```
//! A picture is rebuilt whole when the set of snapshots changes; further views are further calls
//! in [`Layout::build`]. What must stay true: a child keeps its listing cookie from one picture to
//! the next, so that a listing that is under way neither repeats nor skips what stays; and a link
//! whose target changes gets another number, since the kernel caches targets by number.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::clock;
use crate::format::{Time, limits};

use super::Ino;
use super::snapshots::SnapshotRoot;

/// Cookies below stand for `.` and `..`.
const FIRST_COOKIE: u64 = 2;

/// What a name in a virtual directory leads to.
#[derive(Debug, Clone)]
pub(super) enum Target {
    /// Another node of the picture.
    Virtual(Ino),
    /// The root of a snapshot.
    Snapshot(Arc<SnapshotRoot>),
}

#[derive(Debug, Clone)]
pub(super) struct Child {
    pub(super) name: Vec<u8>,
    /// Where it stands in listings: never changes while it exists.
    pub(super) cookie: u64,
    pub(super) target: Target,
}

#[derive(Debug)]
pub(super) enum Virtual {
    Directory {
        parent: Ino,
        /// Sorted by name.
        children: Vec<Child>,
    },
    Link {
        target: Vec<u8>,
    },
}

/// One moment's directories above the snapshots.
#[derive(Debug)]
pub(super) struct Layout {
    nodes: HashMap<Ino, Virtual>,
    /// When the set of snapshots was seen to change: the time that all virtual nodes show. The
    /// kernel drops its cached listings when it moves.
    pub(super) changed: Time,
    next_cookie: u64,
}

impl Layout {
    /// A picture of no snapshots.
    pub(super) fn empty(changed: Time) -> Self {
        Self { nodes: HashMap::new(), changed, next_cookie: FIRST_COOKIE }.build(&[], changed)
    }

    /// The picture of these snapshots, oldest first, after this one.
    pub(super) fn build(&self, snapshots: &[Arc<SnapshotRoot>], changed: Time) -> Self {
        let mut next = Self { nodes: HashMap::new(), changed, next_cookie: self.next_cookie };
        next = next.with(snapshots);
        let mut next_cookie = self.next_cookie;
        for (ino, node) in &mut next.nodes {
            let Virtual::Directory { children, .. } = node else { continue };
            for child in children {
                let known = self.child(*ino, &child.name);
                child.cookie = known.map_or_else(
                    || {
                        next_cookie += 1;
                        next_cookie - 1
                    },
                    |known| known.cookie,
                );
            }
        }
        next.next_cookie = next_cookie;
        next
    }

    fn with(mut self, snapshots: &[Arc<SnapshotRoot>]) -> Self {
        let mut root: Vec<(Vec<u8>, Target)> = Vec::new();
        if let Some(latest) = snapshots.last() {
            root.push(self.link(b"latest", [b"snapshots/", latest.name.as_bytes()].concat()));
        }
        let all = snapshots
            .iter()
            .map(|snapshot| {
                (snapshot.name.clone().into_bytes(), Target::Snapshot(Arc::clone(snapshot)))
            })
            .collect();
        root.push(self.directory(Ino::ROOT, b"snapshots", all));
        root.push(self.groups(b"hosts", snapshots, |snapshot| vec![snapshot.host.as_str()]));
        root.push(self.groups(b"tags", snapshots, |snapshot| {
            snapshot.tags.iter().map(String::as_str).collect()
        }));
        self.insert(Ino::ROOT, Ino::ROOT, root);
        self
    }

    /// A directory of directories of links, one for each word that `words` finds.
    fn groups(
        &mut self,
        name: &[u8],
        snapshots: &[Arc<SnapshotRoot>],
        words: impl Fn(&SnapshotRoot) -> Vec<&str>,
    ) -> (Vec<u8>, Target) {
        let mut groups: BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Target>> = BTreeMap::new();
        for snapshot in snapshots {
            for word in words(snapshot) {
                let word = file_name(word);
                let path = [name, b"/", &word, b"/", snapshot.name.as_bytes()].concat();
                let target = [b"../../snapshots/", snapshot.name.as_bytes()].concat();
                let (_, link) = self.link(&path, target);
                let group = groups.entry(word).or_default();
                group.insert(snapshot.name.clone().into_bytes(), link);
            }
        }
        let ino = Ino::of_virtual(name, b"");
        let mut directories = Vec::new();
        for (word, links) in groups {
            let path = [name, b"/", &word].concat();
            let (_, target) = self.directory(ino, &path, links.into_iter().collect());
            directories.push((word, target));
        }
        self.directory(Ino::ROOT, name, directories)
    }

    fn link(&mut self, path: &[u8], target: Vec<u8>) -> (Vec<u8>, Target) {
        let ino = Ino::of_virtual(path, &target);
        self.nodes.insert(ino, Virtual::Link { target });
        (path.to_vec(), Target::Virtual(ino))
    }

    fn directory(
        &mut self,
        parent: Ino,
        path: &[u8],
        children: Vec<(Vec<u8>, Target)>,
    ) -> (Vec<u8>, Target) {
        let ino = Ino::of_virtual(path, b"");
        self.insert(ino, parent, children);
        (path.to_vec(), Target::Virtual(ino))
    }

    fn insert(&mut self, ino: Ino, parent: Ino, children: Vec<(Vec<u8>, Target)>) {
        let mut children: Vec<Child> = children
            .into_iter()
            .map(|(name, target)| Child { name, cookie: FIRST_COOKIE, target })
            .collect();
        children.sort_by(|a, b| a.name.cmp(&b.name));
        self.nodes.insert(ino, Virtual::Directory { parent, children });
    }

    pub(super) fn get(&self, ino: Ino) -> Option<&Virtual> {
        self.nodes.get(&ino)
    }

    /// The entry of that name in a virtual directory.
    pub(super) fn child(&self, directory: Ino, name: &[u8]) -> Option<&Child> {
        let Some(Virtual::Directory { children, .. }) = self.get(directory) else { return None };
        let at = children.binary_search_by(|child| child.name.as_slice().cmp(name)).ok()?;
        children.get(at)
    }
}

/// A later time than `last`, by the clock where that moved on.
pub(super) fn after(last: Time) -> Time {
    let step = match last.nanos {
        999_999_999 => Time { secs: last.secs.saturating_add(1), nanos: 0 },
        nanos => Time { secs: last.secs, nanos: nanos + 1 },
    };
    clock::now().max(step)
}

/// A host or tag as a file name: what no name may hold becomes `_`.
fn file_name(word: &str) -> Vec<u8> {
    let name = word.bytes().map(|byte| if byte == b'/' || byte == 0 { b'_' } else { byte });
    let name: Vec<u8> = name.take(limits::NAME_MAX).collect();
    match name.as_slice() {
        b"" | b"." => b"_".to_vec(),
        b".." => b"__".to_vec(),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_any_bytes_become_file_names() {
        for (word, name) in [
            ("web1", "web1"),
            ("a/b\0c", "a_b_c"),
            ("", "_"),
            (".", "_"),
            ("..", "__"),
            ("...", "..."),
        ] {
            assert_eq!(file_name(word), name.as_bytes());
        }
        assert_eq!(file_name(&"x".repeat(300)).len(), 255);
    }

    #[test]
    fn changed_moves_on_even_when_the_clock_does_not() {
        let far = Time { secs: i64::MAX - 1, nanos: 999_999_999 };
        assert_eq!(after(far), Time { secs: i64::MAX, nanos: 0 });
        assert!(after(Time::default()) > Time::default());
    }
}
