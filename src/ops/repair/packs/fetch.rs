//! Bringing back from a replica: chunks that snapshots need and that are nowhere here any more.
//!
//! Chunk by chunk, by id: the replica's packs may be others, written by another ingest. Where a page
//! is lost too, the walk goes on through the replica's. What must stay true: what is brought back is
//! compared with its id by the replica's own reader, and comes in by a session like any other.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicBool;

use crate::format::index::Place;
use crate::format::{Body, ChunkId, Content, Extent, File, PackId, PackKind};
use crate::ops::Result;
use crate::repo::{Page, PageAt, RepoError, Repository, Session};

use super::sources::Rewriter;
use super::{PacksOptions, PacksPlan, Way, check};

/// What can be had here.
struct Here<'a> {
    repo: &'a Repository,
    gone: HashSet<PackId>,
    /// Packs that are damaged now and will be healed: what is read of them meanwhile stays in caches.
    damaged: HashSet<PackId>,
    /// Blocks that cannot be read since a base of theirs is gone.
    broken: HashSet<(PackId, u32)>,
}

impl<'a> Here<'a> {
    /// Without packs that are going, by decision of a prune or as the caller says.
    fn new(repo: &'a Repository, going: impl Iterator<Item = PackId>) -> Result<Self> {
        let mut gone = repo.generations()?.doomed();
        gone.extend(going);
        repo.index().reload()?;
        let there: HashSet<PackId> = repo.all_packs()?.into_iter().map(|pack| pack.id).collect();
        let named = repo.index().packs().into_iter().map(|pack| pack.id);
        gone.extend(named.filter(|id| !there.contains(id)));
        let broken = repo.broken_blocks(|place| !gone.contains(&place.pack.id));
        Ok(Self { repo, gone, damaged: HashSet::new(), broken })
    }

    fn has(&self, id: &ChunkId) -> bool {
        self.repo.index().has_place(id, |place| self.is_good(place))
    }

    /// Whether it can be read now.
    fn reads(&self, id: &ChunkId) -> bool {
        let is_whole =
            |place: &Place| !self.damaged.contains(&place.pack.id) && self.is_good(place);
        self.repo.index().has_place(id, is_whole)
    }

    fn is_good(&self, place: &Place) -> bool {
        !self.gone.contains(&place.pack.id)
            && !self.broken.contains(&(place.pack.id, place.block_offset))
    }
}

/// Looks for what snapshots need and nobody has here.
struct Search<'a> {
    here: Here<'a>,
    from: &'a Repository,
    interrupted: &'a AtomicBool,
    /// Pages that were gone through.
    seen: HashSet<ChunkId>,
    absent: HashMap<ChunkId, PackKind>,
}

/// How many chunks the replica would give back beside what the plan does, and beside the `known`
/// chunks of packs that are to be set aside.
pub(super) fn count(
    repo: &Repository,
    from: &Repository,
    plan: &PacksPlan,
    known: &HashSet<ChunkId>,
    interrupted: &AtomicBool,
) -> Result<u64> {
    let mut here = Here::new(repo, plan.set_aside().into_keys())?;
    for pack in plan.bad.iter().filter(|pack| pack.way != Way::Rewrite) {
        here.gone.remove(&pack.id);
        here.damaged.insert(pack.id);
    }
    here.broken = repo.broken_blocks(|place| !here.gone.contains(&place.pack.id));
    let absent = absent(here, from, interrupted)?;
    let gives = |id: &&ChunkId| {
        !known.contains(*id) && from.chunk_places(id).is_ok_and(|places| !places.is_empty())
    };
    Ok(absent.keys().filter(gives).count() as u64)
}

/// Writes anew what the replica has of what snapshots need and nobody has here; how many chunks.
pub(super) fn bring_back(
    repo: &Repository,
    from: &Repository,
    options: &PacksOptions,
    interrupted: &AtomicBool,
) -> Result<u64> {
    let absent = absent(Here::new(repo, std::iter::empty())?, from, interrupted)?;
    if absent.is_empty() {
        return Ok(0);
    }
    let session = Session::begin(repo, options.writer.clone(), crate::clock::now())?;
    let result = write(&session, from, &absent, interrupted);
    // Nothing is committed: what it wrote is in the index.
    session.abandon();
    result
}

fn write(
    session: &Session<'_>,
    from: &Repository,
    absent: &HashMap<ChunkId, PackKind>,
    interrupted: &AtomicBool,
) -> Result<u64> {
    let mut rewriter = Rewriter::new(session)?;
    for (id, kind) in absent {
        check(interrupted)?;
        session.beat_when_due()?;
        if session.has_chunk(id) {
            continue;
        }
        match from.chunk(id) {
            Ok(bytes) => rewriter.put(*kind, *id, &bytes)?,
            Err(err) if err.is_damage() => {} // lost there as well
            Err(err) => return Err(err.into()),
        }
    }
    Ok(rewriter.finish()?)
}

fn absent(
    here: Here<'_>,
    from: &Repository,
    interrupted: &AtomicBool,
) -> Result<HashMap<ChunkId, PackKind>> {
    let repo = here.repo;
    let (seen, absent) = (HashSet::new(), HashMap::new());
    let mut search = Search { here, from, interrupted, seen, absent };
    for snapshot in repo.snapshots()?.snapshots {
        if let Body::Directory { page: Some(page), .. } = snapshot.root_node().body {
            search.tree(page)?;
        }
    }
    Ok(search.absent)
}

impl Search<'_> {
    fn tree(&mut self, root: ChunkId) -> Result<()> {
        let mut stack = vec![PageAt::top(root)];
        while let Some(at) = stack.pop() {
            check(self.interrupted)?;
            if !self.seen.insert(at.id) {
                continue;
            }
            self.need(&at.id, PackKind::Meta);
            match self.read(&at.id, |repo| repo.page_at(&at))? {
                None => {}
                Some(Page::Inner(refs)) => stack.extend(at.below(&refs)),
                Some(Page::Leaf(leaf)) => {
                    for node in &leaf.nodes {
                        match &node.body {
                            Body::Directory { page: Some(page), .. } => {
                                stack.push(PageAt::top(*page));
                            }
                            Body::File(file) => self.file(file)?,
                            _ => {}
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, file: &File) -> Result<()> {
        let Content::Extents { level, extents } = &file.content else { return Ok(()) };
        extents.iter().try_for_each(|extent| self.extent(extent, *level))
    }

    fn extent(&mut self, extent: &Extent, level: u8) -> Result<()> {
        if extent.is_hole() {
            return Ok(());
        }
        let Some(below) = level.checked_sub(1) else {
            self.need(&extent.id, PackKind::Data);
            return Ok(());
        };
        if !self.seen.insert(extent.id) {
            return Ok(());
        }
        self.need(&extent.id, PackKind::Meta);
        let list =
            self.read(&extent.id, |repo| repo.extents_of(extent, below))?.unwrap_or_default();
        list.iter().try_for_each(|extent| self.extent(extent, below))
    }

    fn need(&mut self, id: &ChunkId, kind: PackKind) {
        if !self.here.has(id) {
            self.absent.insert(*id, kind);
        }
    }

    /// What one of the two can read; `None` where it is lost on both sides.
    fn read<T>(
        &self,
        id: &ChunkId,
        read: impl Fn(&Repository) -> Result<T, RepoError>,
    ) -> Result<Option<T>, RepoError> {
        let here = self.here.reads(id).then_some(self.here.repo);
        for repo in here.into_iter().chain([self.from]) {
            match read(repo) {
                Ok(found) => return Ok(Some(found)),
                Err(err) if err.is_damage() => {}
                Err(err) => return Err(err),
            }
        }
        Ok(None)
    }
}
