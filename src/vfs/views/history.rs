//! What became of one path over all snapshots, looked up on demand and kept in bounded caches.
//!
//! A path is looked up in the distinct directories that its parent was, so snapshots that share a
//! directory's pages cost one look-up together, whatever their number. A snapshot whose directory
//! cannot be read is left out with a message, since the older versions of a file matter most when
//! a newer one is damaged; what was worked out without it is kept for some seconds only, or as long
//! as a listing that it was worked out for goes on: each part of that would else begin with reading
//! all of it again.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::format::{ChunkId, Kind, Leaf, Time};
use crate::repo::{
    DirectoryRef, NodeRef, Page, PageAt, RepoError, Repository, WeightedLru, version_of,
};
use crate::sync::{first_said, lock};
use crate::units::chain;

use super::super::inode::{self, Place};
use super::super::layout::Layout;
use super::super::list::FIRST;
use super::super::root::{ShowOwner, owner_of};
use super::super::snapshots::SnapshotRoot;

/// Bytes of histories that are kept.
const BYTES_KEPT: usize = 4 << 20;
/// Bytes of listings that are kept; the last one is, whatever its length.
const LISTING_BYTES_KEPT: usize = 16 << 20;
/// How long what was left out is taken for damaged still.
const PARTIAL_MAX_AGE: Duration = Duration::from_secs(10);
/// What an entry of either takes, about.
const ENTRY_BYTES: usize = 96;

pub(super) const ACL: &[u8] = b"system.posix_acl_access";

/// Whom entries are shown to belong to.
type Owners<'a> = Option<&'a dyn ShowOwner>;

/// Who may look into a directory that stands for several: whoever may into each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// It stands for no directory: for names of versions only.
    Open,
    /// Permission bits that all of them grant, and their owner as it is shown.
    Owned { mode: u32, uid: u32, gid: u32 },
    /// They have different owners.
    Mixed,
}

impl Access {
    const READ: u32 = 0o555;
    const OWNER: u32 = 0o500;

    fn of(node: &NodeRef, owners: Owners<'_>) -> Self {
        let (uid, gid) = owner_of(owners, node);
        let has_acl = node.xattrs.iter().any(|xattr| xattr.name == ACL);
        // An ACL may refuse somebody what the bits of group and others grant.
        let mode = node.mode & if has_acl { Self::OWNER } else { Self::READ };
        Self::Owned { mode, uid, gid }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Open, access) | (access, Self::Open) => access,
            (Self::Owned { mode: a, uid, gid }, Self::Owned { mode: b, uid: u, gid: g })
                if uid == u =>
            {
                let mode = a & b & if gid == g { Self::READ } else { Self::OWNER };
                Self::Owned { mode, uid, gid }
            }
            _ => Self::Mixed,
        }
    }

    fn add(&mut self, node: &NodeRef, owners: Owners<'_>) {
        if Kind::of(&node.body) == Kind::Directory {
            *self = self.and(Self::of(node, owners));
        }
    }

    /// Permission bits, user and group; where there is no one owner, those of the mount's.
    pub(super) const fn mode_and_owner(self, mount: (u32, u32)) -> (u32, (u32, u32)) {
        match self {
            Self::Open => (Self::READ, mount),
            Self::Owned { mode, uid, gid } => (mode, (uid, gid)),
            Self::Mixed => (Self::OWNER, mount),
        }
    }
}

/// A version of what is no directory, with the first snapshot that has it.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) name: Vec<u8>,
    pub(super) snapshot: Arc<SnapshotRoot>,
    pub(super) place: Place,
}

/// What became of a path, oldest first.
#[derive(Debug)]
pub(super) struct History {
    /// Directories that it was, each top page once.
    directories: Vec<WasDirectory>,
    pub(super) versions: Vec<Version>,
    pub(super) access: Access,
    /// A snapshot was left out, here or in a directory above.
    is_partial: bool,
}

/// A directory that the path was, with the first snapshot that has it.
#[derive(Debug)]
struct WasDirectory {
    snapshot: Arc<SnapshotRoot>,
    directory: DirectoryRef,
}

/// An entry of a directory of `/versions`.
#[derive(Debug)]
pub(super) struct Listed {
    /// Where it stands: a hash of the name, so that it stays when others come and go.
    pub(super) offset: u64,
    pub(super) name: Vec<u8>,
    pub(super) what: ListedAs,
}

#[derive(Debug)]
pub(super) enum ListedAs {
    Version(Version),
    Child(Access),
}

/// A picture, by its time, and a path.
type Key = (Time, Vec<u8>);

/// Something that was worked out, and when, if without a directory that could not be read.
#[derive(Debug)]
struct Kept<T> {
    value: Arc<T>,
    partial_since: Option<Instant>,
}

impl<T> Kept<T> {
    fn new(value: &Arc<T>, is_partial: bool) -> Self {
        Self { value: Arc::clone(value), partial_since: is_partial.then(Instant::now) }
    }

    fn is_fresh(&self) -> bool {
        self.partial_since.is_none_or(|since| since.elapsed() < PARTIAL_MAX_AGE)
    }
}

#[derive(Debug)]
pub(super) struct Histories {
    owners: Option<Arc<dyn ShowOwner>>,
    histories: Mutex<WeightedLru<Key, Kept<History>>>,
    listings: Mutex<WeightedLru<Key, Kept<Vec<Listed>>>>,
}

fn kept<T>(
    cache: &Mutex<WeightedLru<Key, Kept<T>>>,
    key: &Key,
    suits: impl FnOnce(&Kept<T>) -> bool,
) -> Option<Arc<T>> {
    lock(cache).get(key).filter(|kept| suits(kept)).map(|kept| Arc::clone(&kept.value))
}

impl Histories {
    pub(super) fn new(owners: Option<Arc<dyn ShowOwner>>) -> Self {
        let histories = Mutex::new(WeightedLru::new(BYTES_KEPT));
        Self { owners, histories, listings: Mutex::new(WeightedLru::new(LISTING_BYTES_KEPT)) }
    }

    /// What became of a path; `None` where no snapshot has it.
    pub(super) fn get(
        &self,
        repo: &Repository,
        layout: &Layout,
        path: &[u8],
    ) -> Result<Option<Arc<History>>, RepoError> {
        let mut history = self.of_root(layout);
        let names = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty());
        let mut end = 0;
        for name in names {
            end += name.len() + usize::from(end > 0);
            let key = (layout.changed, path.get(..end).unwrap_or_default().to_vec());
            history = match kept(&self.histories, &key, Kept::is_fresh) {
                Some(known) => known,
                None => {
                    let found = Arc::new(history.child(repo, name, self.owners.as_deref())?);
                    let weight = found.weight() + path.len();
                    let entry = Kept::new(&found, found.is_partial);
                    lock(&self.histories).put(key, entry, weight);
                    found
                }
            };
        }
        let is_there = path.is_empty() || history.is_there();
        Ok(is_there.then_some(history))
    }

    fn of_root(&self, layout: &Layout) -> Arc<History> {
        let key = (layout.changed, Vec::new());
        if let Some(known) = kept(&self.histories, &key, Kept::is_fresh) {
            return known;
        }
        let mut building = Building::of(self.owners.as_deref());
        for snapshot in &layout.snapshots {
            building.add(b"", snapshot, &snapshot.node);
        }
        let history = Arc::new(building.finish(false));
        lock(&self.histories).put(key, Kept::new(&history, false), history.weight());
        history
    }

    /// All entries of a directory of `/versions`, by offset. A listing that goes on gets what it
    /// began with, as long as that is kept.
    pub(super) fn list(
        &self,
        repo: &Repository,
        layout: &Layout,
        (path, history): (&[u8], &History),
        goes_on: bool,
    ) -> Result<Arc<Vec<Listed>>, RepoError> {
        let key = (layout.changed, path.to_vec());
        if let Some(known) = kept(&self.listings, &key, |kept| goes_on || kept.is_fresh()) {
            return Ok(known);
        }
        let (children, is_partial) = history.children(repo, self.owners.as_deref())?;
        let listed = Arc::new(placed(history, children));
        let weight = listed.iter().map(|listed| listed.name.len() + ENTRY_BYTES).sum();
        lock(&self.listings).put(key, Kept::new(&listed, is_partial), weight);
        Ok(listed)
    }
}

/// Gives each entry its offset. Versions come before children of the same name.
fn placed(history: &History, mut children: HashMap<Vec<u8>, Access>) -> Vec<Listed> {
    let mut listed = Vec::with_capacity(history.versions.len() + children.len());
    for version in &history.versions {
        children.remove(&version.name);
        listed.push((version.name.clone(), ListedAs::Version(version.clone())));
    }
    listed.extend(children.into_iter().map(|(name, access)| (name, ListedAs::Child(access))));
    let offset = |name: &[u8]| (inode::hash(&[b"listed", name])).max(FIRST);
    let mut listed: Vec<_> = listed
        .into_iter()
        .map(|(name, what)| Listed { offset: offset(&name), name, what })
        .collect();
    listed.sort_by(|a, b| (a.offset, &a.name).cmp(&(b.offset, &b.name)));
    let mut free = FIRST;
    for listed in &mut listed {
        listed.offset = listed.offset.max(free);
        free = listed.offset + 1;
    }
    listed
}

#[derive(Default)]
struct Building<'a> {
    owners: Owners<'a>,
    directories: Vec<WasDirectory>,
    pages: HashSet<ChunkId>,
    versions: Vec<Version>,
    seen: HashSet<[u8; 32]>,
    access: Option<Access>,
}

impl<'a> Building<'a> {
    fn of(owners: Owners<'a>) -> Self {
        Self { owners, ..Self::default() }
    }

    fn add(&mut self, name: &[u8], snapshot: &Arc<SnapshotRoot>, node: &NodeRef) {
        self.access.get_or_insert(Access::Open).add(node, self.owners);
        if let Some(directory) = DirectoryRef::of(&node.body) {
            if directory.page.is_some_and(|page| self.pages.insert(page)) {
                let snapshot = Arc::clone(snapshot);
                self.directories.push(WasDirectory { snapshot, directory });
            }
        } else if let Some(page) = node.page
            && self.seen.insert(version_of(node))
        {
            let place = Place { page, number: node.number as u16 };
            let snapshot = Arc::clone(snapshot);
            self.versions.push(Version { name: version_name(&snapshot, name), snapshot, place });
        }
    }

    fn finish(self, is_partial: bool) -> History {
        let Self { directories, versions, access, .. } = self;
        History { directories, versions, access: access.unwrap_or(Access::Open), is_partial }
    }
}

/// The snapshot's name, with the extension of the file's, so that programs know what it is.
fn version_name(snapshot: &SnapshotRoot, name: &[u8]) -> Vec<u8> {
    const EXTENSION_MAX: usize = 16;
    let dot = name.iter().rposition(|&byte| byte == b'.').filter(|&at| at > 0);
    let extension = dot.and_then(|at| name.get(at..)).filter(|extension| {
        let word = extension.get(1..).unwrap_or_default();
        (1..=EXTENSION_MAX).contains(&word.len()) && word.iter().all(u8::is_ascii_alphanumeric)
    });
    [snapshot.name.as_bytes(), extension.unwrap_or_default()].concat()
}

impl History {
    fn is_there(&self) -> bool {
        self.access != Access::Open || !self.versions.is_empty()
    }

    /// What became of an entry. An error where it was found nowhere, and not looked for everywhere.
    fn child(&self, repo: &Repository, name: &[u8], owners: Owners<'_>) -> Result<Self, RepoError> {
        let (mut building, mut failure) = (Building::of(owners), None);
        for WasDirectory { snapshot, directory } in &self.directories {
            match repo.lookup(directory.page, name) {
                Ok(Some(node)) => building.add(name, snapshot, &node),
                Ok(None) => {}
                Err(err) => failure = Some(log(err)),
            }
        }
        let child = building.finish(self.is_partial || failure.is_some());
        match failure {
            Some(failure) if !child.is_there() => Err(failure),
            _ => Ok(child),
        }
    }

    /// Names of all that the directories held, and whether any page was left out; each is read
    /// once. An error where none could be read.
    fn children(
        &self,
        repo: &Repository,
        owners: Owners<'_>,
    ) -> Result<(HashMap<Vec<u8>, Access>, bool), RepoError> {
        let (mut children, mut failure, mut seen) = (HashMap::new(), None, HashSet::new());
        let tops = self.directories.iter().filter_map(|one| one.directory.page);
        let mut stack: Vec<_> = tops.map(PageAt::top).collect();
        while let Some(at) = stack.pop() {
            if !seen.insert(at.id) {
                continue;
            }
            match repo.page_at(&at) {
                Ok(Page::Inner(refs)) => stack.extend(at.below(&refs)),
                Ok(Page::Leaf(leaf)) => add_children(&mut children, &leaf, at.id, owners),
                Err(err) => failure = Some(log(err)),
            }
        }
        match failure {
            Some(failure) if children.is_empty() => Err(failure),
            failure => Ok((children, self.is_partial || failure.is_some())),
        }
    }

    fn weight(&self) -> usize {
        ENTRY_BYTES * (1 + self.directories.len() + self.versions.len())
    }
}

fn add_children(
    children: &mut HashMap<Vec<u8>, Access>,
    leaf: &Arc<Leaf>,
    page: ChunkId,
    owners: Owners<'_>,
) {
    let nodes = (0..leaf.nodes.len()).filter_map(|n| NodeRef::new(Arc::clone(leaf), Some(page), n));
    for node in nodes {
        match children.get_mut(&node.name) {
            Some(access) => access.add(&node, owners),
            None => {
                let mut access = Access::Open;
                access.add(&node, owners);
                children.insert(node.name.clone(), access);
            }
        }
    }
}

fn log(err: RepoError) -> RepoError {
    if first_said(&err.object()) {
        tracing::error!("a directory is left out of /versions: {}", chain(&err));
    }
    err
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_is_what_all_directories_grant() {
        let owned = |mode, uid, gid| Access::Owned { mode, uid, gid };
        for (a, b, both) in [
            (Access::Open, owned(0o550, 1, 2), owned(0o550, 1, 2)),
            (owned(0o555, 1, 2), owned(0o500, 1, 2), owned(0o500, 1, 2)),
            (owned(0o555, 1, 2), owned(0o555, 1, 3), owned(0o500, 1, 2)),
            (owned(0o555, 1, 2), owned(0o555, 2, 2), Access::Mixed),
            (Access::Mixed, owned(0o555, 1, 2), Access::Mixed),
            (Access::Mixed, Access::Open, Access::Mixed),
        ] {
            assert_eq!(a.and(b), both, "{a:?} and {b:?}");
        }
        assert_eq!(Access::Mixed.mode_and_owner((7, 8)), (0o500, (7, 8)));
    }
}
