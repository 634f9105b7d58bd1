//! The few directories and links above the snapshots, as an immutable picture of one moment.
//!
//! ```text
//! /latest                    -> snapshots/<name>, absent in an empty repository
//! /snapshots/<name>/…        a snapshot's root; name: 2026-11-22T150405Z-<8 hex digits of its id>
//! /hosts/<host>/<name>       -> ../../snapshots/<name>
//! /tags/<tag>/<name>         -> ../../snapshots/<name>
//! /sources/<source>/<name>   -> ../../snapshots/<name>/<path of the source>
//! /versions/…                every version of every path: `views/versions`
//! /diff/<name>..<name>/…     what differs between two snapshots: `views/diff`
//! /.icecore/…                texts about the mount: `views/status`
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
use super::views::TextKind;

/// The directory whose names are pairs of snapshots; more of them than it lists.
pub(super) const DIFF: &[u8] = b"diff";

/// Cookies below stand for `.` and `..`.
const FIRST_COOKIE: u64 = 2;

/// What a name in a virtual directory leads to.
#[derive(Debug, Clone)]
pub(super) enum Target {
    /// Another node of the picture.
    Virtual(Ino),
    /// The root of a snapshot.
    Snapshot(Arc<SnapshotRoot>),
    /// What differs between two of them.
    Pair(Arc<SnapshotRoot>, Arc<SnapshotRoot>),
    /// Every version of every path.
    Versions,
    /// A text that is made when it is looked at.
    Text(TextKind),
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
    /// All that are shown, oldest first.
    pub(super) snapshots: Vec<Arc<SnapshotRoot>>,
    /// When the set of snapshots was seen to change: the time that all virtual nodes show. The
    /// kernel drops its cached listings when it moves.
    pub(super) changed: Time,
    next_cookie: u64,
}

impl Layout {
    /// A picture of no snapshots.
    pub(super) fn empty(changed: Time) -> Self {
        Self::nothing(changed).build(&[], changed)
    }

    /// No directories at all, for a tree whose root is in a snapshot.
    pub(super) fn nothing(changed: Time) -> Self {
        Self::new(changed, FIRST_COOKIE)
    }

    fn new(changed: Time, next_cookie: u64) -> Self {
        Self { nodes: HashMap::new(), snapshots: Vec::new(), changed, next_cookie }
    }

    /// The picture of these snapshots, oldest first, after this one.
    pub(super) fn build(&self, snapshots: &[Arc<SnapshotRoot>], changed: Time) -> Self {
        let mut next = Self::new(changed, self.next_cookie).with(snapshots);
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
        let none = Vec::new;
        root.push(self.groups(b"hosts", snapshots, |snapshot| {
            vec![(file_name(snapshot.host.as_bytes()), none())]
        }));
        root.push(self.groups(b"tags", snapshots, |snapshot| {
            snapshot.tags.iter().map(|tag| (file_name(tag.as_bytes()), none())).collect()
        }));
        root.push(self.groups(b"sources", snapshots, |snapshot| {
            snapshot.sources.iter().map(|path| (source_name(path), path_below(path))).collect()
        }));
        root.push((b"versions".to_vec(), Target::Versions));
        root.push(self.directory(Ino::ROOT, DIFF, neighbours(snapshots)));
        let texts = TextKind::ALL.map(|kind| (kind.name().to_vec(), Target::Text(kind)));
        root.push(self.directory(Ino::ROOT, b".icecore", texts.into()));
        self.insert(Ino::ROOT, Ino::ROOT, root);
        self.snapshots = snapshots.to_vec();
        self
    }

    /// A directory of directories of links: `words` finds the names of those that a snapshot is
    /// in, and what its link there leads to below the snapshot's root.
    fn groups(
        &mut self,
        name: &[u8],
        snapshots: &[Arc<SnapshotRoot>],
        words: impl Fn(&SnapshotRoot) -> Vec<(Vec<u8>, Vec<u8>)>,
    ) -> (Vec<u8>, Target) {
        let mut groups: BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Target>> = BTreeMap::new();
        for snapshot in snapshots {
            for (word, below) in words(snapshot) {
                let path = [name, b"/", &word, b"/", snapshot.name.as_bytes()].concat();
                let mut target = [b"../../snapshots/", snapshot.name.as_bytes()].concat();
                if target.len() + below.len() <= limits::LINK_TARGET_MAX {
                    target.extend_from_slice(&below);
                }
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

/// Each snapshot with the one before it of the same host and sources.
fn neighbours(snapshots: &[Arc<SnapshotRoot>]) -> Vec<(Vec<u8>, Target)> {
    let mut last = HashMap::new();
    let mut pairs = Vec::new();
    for new in snapshots {
        if let Some(old) = last.insert((&new.host, &new.sources), new) {
            let target = Target::Pair(Arc::clone(old), Arc::clone(new));
            pairs.push((pair_name(old, new), target));
        }
    }
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    pairs
}

/// The name of what differs between two snapshots, below `/diff`.
pub(super) fn pair_name(old: &SnapshotRoot, new: &SnapshotRoot) -> Vec<u8> {
    format!("{}..{}", old.name, new.name).into_bytes()
}

/// A word as a file name: what no name may hold becomes `_`.
fn file_name(word: &[u8]) -> Vec<u8> {
    let name = word.iter().map(|&byte| if byte == b'/' || byte == 0 { b'_' } else { byte });
    let name: Vec<u8> = name.take(limits::NAME_MAX).collect();
    match name.as_slice() {
        b"" | b"." => b"_".to_vec(),
        b".." => b"__".to_vec(),
        _ => name,
    }
}

/// A source's path as a file name: `/srv/models` is `srv_models`, a whole root is `_`.
fn source_name(path: &[u8]) -> Vec<u8> {
    let slashes = path.iter().take_while(|&&byte| byte == b'/').count();
    file_name(path.get(slashes..).unwrap_or_default())
}

/// Where a source is below a snapshot's root, each name after a slash; empty for the root itself,
/// and for a path that could lead out of it.
fn path_below(path: &[u8]) -> Vec<u8> {
    let names = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty() && name != b".");
    let below: Vec<u8> = names.clone().flat_map(|name| [b"/", name].concat()).collect();
    if below.contains(&0) || names.clone().any(|name| name == b"..") { Vec::new() } else { below }
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
            assert_eq!(file_name(word.as_bytes()), name.as_bytes());
        }
        assert_eq!(file_name(&[b'x'; 300]).len(), 255);
    }

    #[test]
    fn sources_are_named_by_their_paths_and_never_lead_out_of_a_snapshot() {
        for (path, name, below) in [
            ("/srv/models", "srv_models", "/srv/models"),
            ("/srv//a/./b/", "srv__a_._b_", "/srv/a/b"),
            ("/", "_", ""),
            (".", "_", ""),
            ("shop.sql", "shop.sql", "/shop.sql"),
            ("/srv/../../etc", "srv_.._.._etc", ""),
            ("/a\0b", "a_b", ""),
        ] {
            assert_eq!(source_name(path.as_bytes()), name.as_bytes(), "{path:?}");
            assert_eq!(path_below(path.as_bytes()), below.as_bytes(), "{path:?}");
        }
    }

    #[test]
    fn changed_moves_on_even_when_the_clock_does_not() {
        let far = Time { secs: i64::MAX - 1, nanos: 999_999_999 };
        assert_eq!(after(far), Time { secs: i64::MAX, nanos: 0 });
        assert!(after(Time::default()) > Time::default());
    }
}
