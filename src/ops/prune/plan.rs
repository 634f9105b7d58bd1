//! What a prune would do: which packs stay, which are written anew, which go, and why.

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;

use crate::format::{PackId, PackKind, Snapshot, SnapshotId, Time, limits};
use crate::ops::{OpError, Result};
use crate::repo::{Repository, Stage};

use super::choose::{PackTable, PackUse};
use super::mark::Marks;
use super::roots::Roots;
use super::temporaries::{self, Temporaries};
use super::{PruneOptions, living_sessions, patience};

/// Packs below this are small: a quarter of what a full one has.
const SMALL_PACK: u64 = limits::PACK_TARGET as u64 / 4;
/// So many small packs of a kind are joined.
const SMALL_PACKS_MAX: usize = 8;

/// What becomes of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// It stays as it is.
    Keep,
    /// Little of it is needed: that is written anew, and the pack goes.
    Sparse,
    /// It is one of many small ones, which are joined.
    Small,
    /// Nothing in it is needed.
    Dead,
    /// No index segment names it: an ingest that was stopped left it.
    Unindexed,
    /// The index names it, it is not there whole, and nothing needs it.
    Missing,
}

impl Fate {
    /// All of them, in the order of a report.
    pub const ALL: [Self; 6] =
        [Self::Keep, Self::Sparse, Self::Small, Self::Dead, Self::Unindexed, Self::Missing];

    /// Whether what is needed of the pack is written anew.
    #[must_use]
    pub const fn is_rewritten(self) -> bool {
        matches!(self, Self::Sparse | Self::Small)
    }
}

/// Packs of one fate, added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PackSums {
    /// How many.
    pub packs: u64,
    /// Their stored bytes.
    pub bytes: u64,
    /// Stored bytes of them that nothing needs.
    pub unused: u64,
}

/// A generation that an earlier prune, or one elsewhere, has not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenGeneration {
    /// Its number.
    pub number: u64,
    /// Who began or decided it.
    pub host: String,
    /// When, by that host's clock.
    pub at: Time,
    /// Whether it is decided which packs go.
    pub decided: bool,
    /// The packs that it names.
    pub packs: u64,
    /// The snapshots that it names.
    pub snapshots: u64,
    /// When a prune may delete them; `None` where that is not known yet, or now.
    pub waits_until: Option<Time>,
}

impl OpenGeneration {
    pub(super) fn of(stage: &Stage) -> Self {
        let (record, decided) = match stage {
            Stage::Undecided(record) => (record, false),
            Stage::Decided { decision, .. } => (decision, true),
        };
        Self {
            number: record.number,
            host: record.host.clone(),
            at: record.at,
            decided,
            packs: record.packs.len() as u64,
            snapshots: record.snapshots.len() as u64,
            waits_until: None,
        }
    }
}

/// What a prune would do.
#[derive(Debug)]
pub struct PrunePlan {
    /// The number that its generation would have.
    pub number: u64,
    /// An unfinished generation: it is gone on with first, and then all is planned anew.
    pub open: Option<OpenGeneration>,
    /// Snapshots that stay.
    pub snapshots_kept: u64,
    /// Of those, how many are forgotten and held by a reader's pin.
    pub snapshots_pinned: u64,
    /// Forgotten snapshots that go.
    pub snapshots_removed: Vec<SnapshotId>,
    /// Packs by fate, as [`Fate::ALL`] has them.
    pub sums: [PackSums; Fate::ALL.len()],
    /// Temporary files of stopped writers, which go.
    pub temporaries: Temporaries,
    /// Whether the index still tells of packs that are gone.
    pub index_is_stale: bool,
    pub(super) fates: Vec<Fate>,
    pub(super) table: PackTable,
    pub(super) marks: Marks,
    pub(super) marked: HashSet<SnapshotId>,
    pub(super) newest: Option<Snapshot>,
}

/// Other prunes that may get in the way of one plan before it is taken for damage after all.
const RACES_MAX: usize = 3;

/// How far all prunes are: the next number, whether one is open, how many packs went.
fn progress(repo: &Repository) -> Result<(u64, bool, usize)> {
    let generations = repo.generations()?;
    Ok((generations.next(), generations.open().is_some(), generations.doomed().len()))
}

impl PrunePlan {
    /// Marks what is needed, and weighs the packs. `also` count as forgotten. What is missing is not
    /// damage where another prune went on meanwhile: a snapshot that was listed here may be one
    /// that was forgotten since, and deleted; then all is looked at again.
    pub(super) fn new(
        repo: &Repository,
        options: &PruneOptions,
        also: &HashSet<SnapshotId>,
        interrupted: &AtomicBool,
    ) -> Result<Self> {
        Self::settled(repo, options, also, interrupted).map_err(|err| match err {
            OpError::Repo(err) => repo.explained(err).into(),
            err => err,
        })
    }

    fn settled(
        repo: &Repository,
        options: &PruneOptions,
        also: &HashSet<SnapshotId>,
        interrupted: &AtomicBool,
    ) -> Result<Self> {
        for _ in 0..RACES_MAX {
            let before = progress(repo)?;
            match Self::once(repo, options, also, interrupted) {
                Err(OpError::Repo(err)) if err.is_damage() && progress(repo)? != before => {
                    tracing::info!("another prune went on meanwhile: planning anew ({err})");
                }
                result => return result,
            }
        }
        Self::once(repo, options, also, interrupted)
    }

    fn once(
        repo: &Repository,
        options: &PruneOptions,
        also: &HashSet<SnapshotId>,
        interrupted: &AtomicBool,
    ) -> Result<Self> {
        // The number first: what is marked is then not older than the generation before.
        let generations = repo.generations()?;
        let open = generations.open().map(OpenGeneration::of);
        let doomed = generations.doomed();
        let before: HashSet<PackId> = repo.all_packs()?.into_iter().map(|pack| pack.id).collect();
        let has_writers = !repo.open_sessions()?.is_empty();
        let has_living = has_writers && !living_sessions(repo, options)?.is_empty();
        let roots = Roots::read(repo, &patience(options, interrupted), also, None)?;
        let mut marks = Marks::new(repo, has_living)?;
        for snapshot in roots.live.iter().rev() {
            marks.snapshot(repo, snapshot, interrupted)?;
        }
        let mut table = PackTable::new(repo, &marks, &doomed)?;
        table.add_up(&mut marks)?;
        let index_is_stale =
            table.packs.iter().any(|pack| pack.indexed && doomed.contains(&pack.id));
        let mut fates: Vec<Fate> = table.packs.iter().map(first_fate).collect();
        for (fate, pack) in fates.iter_mut().zip(&table.packs) {
            // It may belong to a session that lives, or be indexed by now.
            let spared = *fate == Fate::Unindexed && (has_writers || !before.contains(&pack.id));
            if spared || doomed.contains(&pack.id) {
                *fate = Fate::Keep;
            }
        }
        choose_rewritten(&table.packs, &mut fates, options);
        let mut plan = Self {
            number: generations.next(),
            open,
            snapshots_kept: roots.live.len() as u64,
            snapshots_pinned: roots.pinned,
            snapshots_removed: roots.doomed.into_iter().collect(),
            sums: Default::default(),
            temporaries: temporaries::planned(repo, options)?,
            index_is_stale,
            fates,
            table,
            marks,
            marked: roots.live.iter().map(|snapshot| snapshot.id).collect(),
            newest: roots.live.into_iter().next_back(),
        };
        plan.snapshots_removed.sort_unstable();
        plan.add_up(&doomed);
        Ok(plan)
    }

    fn add_up(&mut self, doomed: &HashSet<PackId>) {
        for (pack, fate) in self.table.packs.iter().zip(&self.fates) {
            if doomed.contains(&pack.id) {
                continue;
            }
            if let Some(sum) = self.sums.get_mut(*fate as usize) {
                sum.packs += 1;
                sum.bytes += pack.stored_len;
                sum.unused += pack.unused();
            }
        }
    }

    /// The sums of one fate.
    #[must_use]
    pub fn sum(&self, fate: Fate) -> PackSums {
        self.sums.get(fate as usize).copied().unwrap_or_default()
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let nothing = |fate: &Fate| *fate == Fate::Keep;
        self.open.is_none()
            && self.temporaries.files == 0
            && !self.index_is_stale
            && self.snapshots_removed.is_empty()
            && self.fates.iter().all(nothing)
    }

    /// Every pack that does not stay, with its stored bytes and its fate.
    pub fn leaving(&self) -> impl Iterator<Item = (PackKind, PackId, u64, Fate)> + '_ {
        let all = self.table.packs.iter().zip(&self.fates);
        let leaving = all.filter(|(_, fate)| **fate != Fate::Keep);
        leaving.map(|(pack, fate)| (pack.kind, pack.id, pack.stored_len, *fate))
    }

    /// About how many bytes the storage has less afterwards.
    #[must_use]
    pub fn freed(&self) -> u64 {
        let whole = [Fate::Dead, Fate::Unindexed, Fate::Missing].map(|fate| self.sum(fate).bytes);
        let parts = [Fate::Sparse, Fate::Small].map(|fate| self.sum(fate).unused);
        whole.into_iter().chain(parts).sum::<u64>() + self.temporaries.bytes
    }
}

fn first_fate(pack: &PackUse) -> Fate {
    match pack {
        PackUse { indexed: false, .. } => Fate::Unindexed,
        PackUse { kept: 1.., .. } => Fate::Keep,
        PackUse { usable: false, .. } => Fate::Missing,
        _ => Fate::Dead,
    }
}

/// Which packs that stay are written anew: those with the least use first, until what is unused is
/// no more than allowed, then small ones where there are many; as far as `max_repack` goes.
fn choose_rewritten(packs: &[PackUse], fates: &mut [Fate], options: &PruneOptions) {
    let kept = |at: &usize| fates.get(*at) == Some(&Fate::Keep);
    let usable = |at: &usize| packs.get(*at).is_some_and(|pack| pack.usable && pack.kept > 0);
    let mut order: Vec<usize> = (0..packs.len()).filter(kept).filter(usable).collect();
    let of = |at: &usize| packs.get(*at).map_or((0, 0), |pack| (pack.unused(), pack.stored_len));
    let total: u64 = order.iter().map(|at| of(at).1).sum();
    let mut unused: u64 = order.iter().map(|at| of(at).0).sum();
    let allowed = (total as f64 * options.max_unused) as u64;
    let part = |at: &usize| {
        let (unused, len) = of(at);
        u128::from(unused) * 1_000_000 / u128::from(len.max(1))
    };
    order.sort_by_key(|at| std::cmp::Reverse(part(at)));
    let mut room = options.max_repack;
    let mut take = |at: usize, fate: Fate, fates: &mut [Fate]| {
        let len = of(&at).1;
        let fits = len <= room;
        if let Some(slot) = fates.get_mut(at).filter(|_| fits) {
            (*slot, room) = (fate, room - len);
        }
        fits
    };
    for at in &order {
        if unused > allowed && of(at).0 > 0 && take(*at, Fate::Sparse, fates) {
            unused -= of(at).0;
        }
    }
    for kind in [PackKind::Data, PackKind::Meta] {
        let small = order.iter().copied().filter(|at| {
            packs.get(*at).is_some_and(|pack| pack.kind == kind && pack.stored_len < SMALL_PACK)
                && fates.get(*at) == Some(&Fate::Keep)
        });
        let small: Vec<usize> = small.collect();
        if small.len() >= SMALL_PACKS_MAX {
            for at in small {
                take(at, Fate::Small, fates);
            }
        }
    }
}
