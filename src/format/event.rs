//! What a record of the ledger tells of besides verifications: copies, drills and runs.
//!
//! All texts are for people; [`limits::LEDGER_LIST_MAX`] caps each list.

use serde::{Deserialize, Serialize};

use super::{Malformed, RepositoryId, SnapshotId, Time, limits};

/// Snapshots were copied into this repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replicated {
    /// How long it took, in nanoseconds of the monotonic clock.
    pub duration_ns: u64,
    /// The repository that they came from.
    pub from: RepositoryId,
    /// Ids there and here of those that are now here whole.
    pub snapshots: Vec<ReplicatedSnapshot>,
    /// Bytes of the objects that were written for them.
    pub bytes_stored: u64,
    /// Why it did not come to its end; empty where it did.
    pub error: String,
}

/// A snapshot and its copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicatedSnapshot {
    /// Its id in the repository that it came from.
    pub origin: SnapshotId,
    /// The copy's id here.
    pub copy: SnapshotId,
}

/// A trial restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drilled {
    /// The drill's name in the strategy.
    pub name: String,
    /// `instant` or `copy`.
    pub mode: String,
    /// When it started, by the clock of the host that ran it.
    pub started: Time,
    /// How long all of it took, the clearing away included, in nanoseconds.
    pub duration_ns: u64,
    /// What was restored.
    pub components: Vec<DrilledComponent>,
    /// What it did, in order.
    pub phases: Vec<DrillPhase>,
    /// What was checked, in order.
    pub checks: Vec<DrillCheck>,
    /// Checks that went red on deliberately damaged data; without any the drill proves nothing.
    pub control: Vec<DrillCheck>,
    /// From the start until the last check passed, in nanoseconds; where samples were restored, with
    /// what their checks of kind [`SAMPLE`] add to what was measured.
    pub rto_ns: u64,
    /// What that may be at most, where the strategy says so.
    pub rto_target_ns: Option<u64>,
    /// Age of the oldest component's snapshot at the start, in nanoseconds.
    pub rpo_ns: u64,
    /// What that may be at most, where the strategy says so.
    pub rpo_target_ns: Option<u64>,
    /// What it showed.
    pub result: DrillResult,
    /// The first thing that was wrong; empty where nothing was.
    pub cause: String,
}

/// Kind of the check that states of a component that only a sample was restored. Its duration is
/// what all of it would have taken longer; what it found says on what assumption. It cannot fail.
pub const SAMPLE: &str = "sample";

/// Kind of the control that tells of a component whether its loss is seen: it passed where no check
/// fails and no service breaks down although this component alone is damaged.
pub const COMPONENT: &str = "component";

impl Drilled {
    /// What was restored as a sample only.
    pub fn samples(&self) -> impl Iterator<Item = &DrillCheck> {
        self.checks.iter().filter(|check| check.kind == SAMPLE)
    }

    /// How much of [`Self::rto_ns`] was not measured but extrapolated, in nanoseconds.
    #[must_use]
    pub fn extrapolated_ns(&self) -> u64 {
        self.samples().fold(0, |sum, check| sum.saturating_add(check.duration_ns))
    }
}

/// A part of what a drill restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrilledComponent {
    /// Its name in the drill.
    pub name: String,
    /// The source in the strategy.
    pub source: String,
    /// The snapshot that it came from, in the repository of this ledger.
    pub snapshot: SnapshotId,
    /// That snapshot's time.
    pub time: Time,
}

/// One step of a drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillPhase {
    /// Like `mount`, `first byte`, `ready: api`, `checks`.
    pub name: String,
    /// From the drill's start, in nanoseconds.
    pub start_ns: u64,
    /// How long it took, in nanoseconds.
    pub duration_ns: u64,
}

/// One check of a drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillCheck {
    /// Its name.
    pub name: String,
    /// Like `manifest`, `http`, `sql`.
    pub kind: String,
    /// Whether what it asks for holds.
    pub passed: bool,
    /// How long it took, in nanoseconds.
    pub duration_ns: u64,
    /// What it found: the end of its output.
    pub told: String,
}

/// What a drill showed. Later kinds are added at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DrillResult {
    /// Everything holds, and the control shows that the checks can fail.
    Proven,
    /// Something does not hold.
    Failed,
    /// Everything holds, but the checks also pass on damaged data.
    ProvesNothing,
}

/// One part of a run of the strategy came to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// `ingest`, `replicate`, `retention`, `prune`, `verify` or `drill`; `targets`, where others of a
    /// source came to be missed or met; `notified`, where somebody was told; `repair` where no
    /// strategy ran, but a repair found a record of the ledger lost.
    pub part: String,
    /// The source's, repository's or drill's name in the strategy, for `replicate` and `retention`
    /// with the repository (`models to far`, `models in near`); for `repair` the name of the lost
    /// record; for `notified` the event, who was told, and of what.
    pub name: String,
    /// When it started.
    pub started: Time,
    /// How long it took, in nanoseconds of the monotonic clock.
    pub duration_ns: u64,
    /// The snapshot that it made.
    pub snapshot: Option<SnapshotId>,
    /// Why it failed, or what is missed; empty where nothing is wrong.
    pub error: String,
}

fn check_count(count: usize) -> Result<(), Malformed> {
    match count > limits::LEDGER_LIST_MAX {
        true => Err(Malformed::at(0, "it lists more than a record may")),
        false => Ok(()),
    }
}

impl Replicated {
    pub(super) fn check(&self) -> Result<(), Malformed> {
        check_count(self.snapshots.len())
    }
}

impl Drilled {
    pub(super) fn check(&self) -> Result<(), Malformed> {
        self.started.check()?;
        self.components.iter().try_for_each(|component| component.time.check())?;
        check_count(self.components.len())?;
        check_count(self.phases.len())?;
        check_count(self.checks.len())?;
        check_count(self.control.len())
    }
}

impl Ran {
    pub(super) fn check(&self) -> Result<(), Malformed> {
        self.started.check()
    }
}
