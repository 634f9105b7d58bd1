//! What tests of captures share: strategies of one line, snapshots brought back to disk, servers
//! of a test's own that end with it.

#![allow(dead_code, unreachable_pub)] // each test uses its part

pub mod postgres;
pub mod presets;
pub mod redis;

use std::path::Path;
use std::process::Child;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use icecore::format::{Capture, Snapshot};
use icecore::ops::OpError;
use icecore::ops::ingest::{IngestOptions, IngestReport};
use icecore::ops::path::resolve;
use icecore::ops::restore::{self, RestoreOptions};
use icecore::progress::Silent;
use icecore::repo::{Repository, SnapshotFilter};
use icecore::strategy::file::Strategy;

use crate::common::library;

/// What the command line would give: databases are captured.
pub fn options() -> IngestOptions {
    IngestOptions { raw_sqlite: false, ..library::options() }
}

/// Ingests all of `base` as the snapshot's root.
pub fn ingest_tree(repo: &Repository, base: &Path) -> IngestReport {
    library::try_ingest(repo, base, &options(), &Silent).unwrap()
}

/// A strategy with these sources.
pub fn strategy(sources: &str) -> Strategy {
    Strategy::parse(&format!("[repositories.r]\nurl = \"/r\"\nmedia = \"disk\"\n{sources}"))
        .unwrap()
}

/// Captures a source.
pub fn capture(
    repo: &Repository,
    strategy: &Strategy,
    name: &str,
) -> Result<IngestReport, OpError> {
    let never = AtomicBool::new(false);
    icecore::ops::capture::run(repo, strategy, name, options(), &Silent, &never)
}

pub fn latest(repo: &Repository) -> Snapshot {
    repo.find_snapshot("latest", &SnapshotFilter::default()).unwrap()
}

pub fn fact<'c>(capture: &'c Capture, name: &str) -> &'c str {
    let found = capture.facts.iter().find(|(fact, _)| fact == name);
    &found.unwrap_or_else(|| panic!("no fact {name} in {:?}", capture.facts)).1
}

/// Brings a path of the newest snapshot back as `to`.
pub fn restore(repo: &Repository, path: &Path, to: &Path) {
    let name = format!("latest:{}", path.display());
    let options = RestoreOptions {
        resolved: resolve(repo, name.as_bytes(), &SnapshotFilter::default()).unwrap(),
        to: to.to_path_buf(),
        dry_run: false,
        verify: false,
        delete: false,
        threads: 2,
        owner_names: false,
        any_owner: false,
        sample: None,
    };
    let report = restore::run(repo, options, &Silent, &AtomicBool::new(false)).unwrap();
    assert!(report.troubles.is_empty(), "{:?}", report.troubles);
}

/// A process that ends with its test.
pub struct Ends(pub Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for something that a server does soon.
pub fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(180);
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
