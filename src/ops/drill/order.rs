//! What the processes of a drill tell each other, as lines of JSON.
//!
//! The order goes in on standard input, events come out on standard output. Times are nanoseconds
//! of the monotonic clock since the drill's start, which all processes of a machine share.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::format::{DrillCheck, DrillPhase, SnapshotId};
use crate::ops::restore::Sample;
use crate::ops::{OpError, Result};
use crate::strategy::file::{Drill, Share};
use crate::sync::lock;

/// All that the processes need to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// The plan.
    pub drill: Drill,
    /// When the drill started, by the monotonic clock.
    pub started_ns: u64,
    /// An empty folder on which a file system in memory is mounted, seen by the drill only.
    pub folder: PathBuf,
    /// A folder on disk for the copy, or for what services write.
    pub scratch: Option<PathBuf>,
    /// Whether the drill has a user namespace of its own, in which its user is root.
    pub is_rootless: bool,
    /// Whether its world stays after the end.
    pub keeps: bool,
    /// Time of the oldest snapshot, in seconds since 1970.
    pub snapshot_secs: i64,
    /// What is restored, each outer path before what lies in it.
    pub parts: Vec<Part>,
    /// How the repository is opened, in the words of whoever opens it. Empty for those that do not.
    pub access: Access,
    /// Sockets of this machine's servers.
    #[serde(default)]
    pub sockets: Vec<PathBuf>,
}

/// How a repository is opened, with its secret: it is wiped, and does not print itself.
#[derive(Clone, Default, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct Access(pub String);

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Access(…)")
    }
}

/// One path that is restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The component's name.
    pub component: String,
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Its path in the snapshot, from `/`.
    pub path: String,
    /// Where it stands in the drill.
    pub at: String,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// How much of it is restored, where not all of it is.
    pub share: Option<Share>,
    /// Which files that are, once they are drawn.
    pub sample: Option<Sample>,
}

impl Part {
    /// Whether a path of the drill lies in it.
    pub(super) fn has(&self, path: &std::path::Path) -> bool {
        path.starts_with(&self.at)
    }
}

/// What happens in a drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A step is done.
    Phase(DrillPhase),
    /// A check is done.
    Check(DrillCheck),
    /// A check of damaged data is done: it should not have passed.
    Control(DrillCheck),
    /// All checks in the world are done.
    Checked,
    /// All controls in the world are done.
    Controlled,
    /// The world stays until somebody ends it.
    Kept {
        /// A process in it, by its number outside.
        pid: u32,
    },
    /// It came to no end.
    Failed {
        /// Why.
        cause: String,
    },
}

/// Tells events to the process that started this one.
pub struct Teller {
    out: Mutex<Box<dyn Write + Send>>,
    started_ns: u64,
}

impl Teller {
    /// `started_ns`: the drill's start.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>, started_ns: u64) -> Self {
        Self { out: Mutex::new(out), started_ns }
    }

    /// Tells an event.
    pub fn tell(&self, event: &Event) -> Result<()> {
        let line = serde_json::to_string(event).map_err(std::io::Error::from);
        let mut out = lock(&self.out);
        let told = line.and_then(|line| writeln!(out, "{line}")).and_then(|()| out.flush());
        told.map_err(|err| OpError::io("tell of the drill", err))
    }

    /// Runs a step and tells how long it took, also where it failed.
    pub fn phase<T>(&self, name: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
        let start_ns = self.elapsed_ns();
        let result = step();
        let duration_ns = self.elapsed_ns().saturating_sub(start_ns);
        self.tell(&Event::Phase(DrillPhase { name: name.to_owned(), start_ns, duration_ns }))?;
        result
    }

    /// Since the drill's start.
    #[must_use]
    pub fn elapsed_ns(&self) -> u64 {
        now_ns().saturating_sub(self.started_ns)
    }
}

/// The monotonic clock, in nanoseconds.
#[must_use]
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let secs = u64::try_from(now.tv_sec).unwrap_or_default();
    secs.saturating_mul(1_000_000_000).saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0))
}

/// A length of time as stored.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
