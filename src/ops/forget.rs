//! Forget: marks snapshots as ones that may be pruned, by name or by rules.
//!
//! Planning changes nothing and is the dry run; a plan is carried out as it was shown. What must
//! stay true: what is protected is never in a plan as forgotten, and is left alone where somebody
//! protects it between plan and run; rules that would leave nothing of a group are refused unless
//! that was asked for in so many words.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::tz::TimeZone;

use crate::format::{Snapshot, SnapshotId, Time};
use crate::repo::{Marker, RepoError, Repository, SnapshotFilter, SnapshotList};
use crate::strategy::retention::{self, Fact, Group, GroupKey, Rules, Verdict};

use super::{OpError, Result};

/// What to forget.
#[derive(Debug, Clone)]
pub struct ForgetOptions {
    /// These snapshots, whatever any rule says; where there are none, what the rules do not keep.
    pub names: Vec<String>,
    /// Other snapshots are neither named nor judged.
    pub filter: SnapshotFilter,
    /// What to keep.
    pub rules: Rules,
    /// Whose days, weeks and so on.
    pub zone: TimeZone,
    /// Whether rules may leave nothing of a group.
    pub allow_remove_all: bool,
}

/// What would be forgotten, and why the rest stays.
#[derive(Debug)]
pub struct ForgetPlan {
    /// Verdicts by group; named snapshots are one group of their own.
    pub groups: Vec<Group>,
    /// The snapshots of all groups; without those that cannot be read and are given up by name.
    pub snapshots: BTreeMap<SnapshotId, Snapshot>,
    /// What could not be read: it is not judged, and stays.
    pub damaged: Vec<RepoError>,
    /// Marks that could not be read: their snapshots are not forgotten.
    pub damaged_marks: Vec<RepoError>,
    allow_remove_all: bool,
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForgetReport {
    /// Now forgotten, in the order of the plan.
    pub forgotten: Vec<SnapshotId>,
    /// Left alone, since somebody protected them after the plan was made.
    pub protected: Vec<SnapshotId>,
}

impl ForgetPlan {
    /// Snapshots that go, oldest first within their group.
    pub fn to_forget(&self) -> impl Iterator<Item = SnapshotId> {
        let verdicts = self.groups.iter().flat_map(|group| &group.verdicts);
        verdicts.filter(|verdict| !verdict.is_kept()).map(|verdict| verdict.id)
    }

    /// Snapshots that stay.
    #[must_use]
    pub fn kept(&self) -> usize {
        let verdicts = self.groups.iter().flat_map(|group| &group.verdicts);
        verdicts.filter(|verdict| verdict.is_kept()).count()
    }

    /// Whether it may be carried out.
    ///
    /// # Errors
    /// Where rules would leave nothing of a group, and nobody said that they may.
    pub fn check(&self) -> Result<()> {
        if self.allow_remove_all {
            return Ok(());
        }
        match self.groups.iter().find(|group| group.is_emptied()) {
            None => Ok(()),
            Some(group) => Err(OpError::Input(format!(
                "the rules keep none of {} snapshots ({})",
                group.verdicts.len(),
                group.key
            ))),
        }
    }
}

/// Says what would be forgotten.
///
/// # Errors
/// Where a name means no snapshot or several, or one that is protected.
pub fn plan(repo: &Repository, options: &ForgetOptions, now: Time) -> Result<ForgetPlan> {
    let mut list = repo.snapshots()?;
    let groups = if options.names.is_empty() {
        list.retain(&options.filter);
        let facts: Vec<Fact> = list.snapshots.iter().map(|each| fact(each, &list)).collect();
        retention::plan(&facts, &options.rules, &options.zone, now)
    } else {
        let (given_up, names) = take_damaged(&mut list, &options.names);
        list.snapshots = named(&mut list, &names, &options.filter)?;
        vec![by_name(&list, &given_up)?]
    };
    Ok(ForgetPlan {
        groups,
        snapshots: list.snapshots.into_iter().map(|each| (each.id, each)).collect(),
        damaged: list.damaged,
        damaged_marks: list.damaged_marks,
        // Whoever names a snapshot means it.
        allow_remove_all: options.allow_remove_all || !options.names.is_empty(),
    })
}

/// Marks what the plan says; what was marked before an interruption stays so.
///
/// # Errors
/// As [`ForgetPlan::check`], where the storage fails, or the user interrupts.
pub fn run(
    repo: &Repository,
    plan: &ForgetPlan,
    by: &Marker,
    interrupted: &AtomicBool,
) -> Result<ForgetReport> {
    plan.check()?;
    let marks = repo.marks()?;
    let mut report = ForgetReport::default();
    for id in plan.to_forget() {
        if interrupted.load(Ordering::Relaxed) {
            return Err(OpError::Interrupted);
        }
        if marks.is_protected(id) {
            report.protected.push(id);
        } else {
            repo.forget(id, by)?;
            report.forgotten.push(id);
        }
    }
    Ok(report)
}

/// The snapshots of these names that [`undo`] brings back.
///
/// # Errors
/// Where a name means no forgotten snapshot or several, or a prune may delete one already.
pub fn undoable(
    repo: &Repository,
    names: &[String],
    filter: &SnapshotFilter,
) -> Result<Vec<SnapshotId>> {
    let mut list = repo.forgotten_snapshots()?;
    let (mut ids, names) = take_damaged(&mut list, names);
    let found = named(&mut list, &names, filter);
    let found = found.map_err(|err| not_forgotten(repo, filter, err))?;
    ids.extend(found.iter().map(|snapshot| snapshot.id));
    for id in &ids {
        repo.refuse_named_by_prune(*id)?;
    }
    Ok(ids)
}

/// The same error, unless the name is that of a snapshot which is not forgotten.
fn not_forgotten(repo: &Repository, filter: &SnapshotFilter, err: OpError) -> OpError {
    let OpError::Repo(RepoError::NoSuchSnapshot { name }) = &err else { return err };
    match repo.snapshots().and_then(|mut list| list.find(name, filter)) {
        Ok(found) => OpError::Input(format!("snapshot {} is not forgotten", found.id.short())),
        Err(_) => err,
    }
}

/// Takes back that these were forgotten.
///
/// # Errors
/// As [`undoable`].
pub fn undo(
    repo: &Repository,
    names: &[String],
    filter: &SnapshotFilter,
    by: &Marker,
) -> Result<Vec<SnapshotId>> {
    let ids = undoable(repo, names, filter)?;
    for id in &ids {
        repo.unforget(*id, by)?;
    }
    Ok(ids)
}

/// The damaged snapshots that are named by their ids, and the names that are left.
fn take_damaged(list: &mut SnapshotList, names: &[String]) -> (Vec<SnapshotId>, Vec<String>) {
    let (mut damaged, mut others) = (Vec::new(), Vec::new());
    for name in names {
        let known = damaged.iter().any(|id: &SnapshotId| id.to_string() == *name);
        match list.take_damaged(name) {
            Some(id) => damaged.push(id),
            None if known => {}
            None => others.push(name.clone()),
        }
    }
    (damaged, others)
}

/// The snapshots of these names, each once, oldest first.
pub(super) fn named(
    list: &mut SnapshotList,
    names: &[String],
    filter: &SnapshotFilter,
) -> Result<Vec<Snapshot>> {
    let mut found: Vec<Snapshot> = Vec::new();
    for name in names {
        let snapshot = list.find(name, filter)?;
        if !found.iter().any(|known| known.id == snapshot.id) {
            found.push(snapshot);
        }
    }
    found.sort_by_key(|snapshot| (snapshot.time, snapshot.id));
    Ok(found)
}

/// All of these go. When one was made that cannot be read is not known.
fn by_name(list: &SnapshotList, given_up: &[SnapshotId]) -> Result<Group> {
    let unread = given_up.iter().map(|id| (*id, Time::default()));
    let all = list.snapshots.iter().map(|each| (each.id, each.time)).chain(unread);
    let verdict = |(id, time)| Verdict { id, time, reasons: Vec::new() };
    let verdicts: Vec<_> = all.map(verdict).collect();
    if let Some(held) = verdicts.iter().find(|each| list.protected.contains(&each.id)) {
        let short = held.id.short();
        let what =
            format!("snapshot {short} is protected: `icecore unprotect {short}` comes first");
        return Err(OpError::Input(what));
    }
    Ok(Group { key: GroupKey::default(), verdicts })
}

fn fact(snapshot: &Snapshot, list: &SnapshotList) -> Fact {
    Fact {
        id: snapshot.id,
        time: snapshot.time,
        host: snapshot.host.clone(),
        tags: snapshot.tags.clone(),
        sources: snapshot.sources.iter().map(|source| source.path.clone()).collect(),
        protected: list.protected.contains(&snapshot.id),
    }
}
