//! Staying, and copying what appears.
//!
//! Where the source is a folder of this machine the kernel says when a snapshot comes; it is looked
//! at from time to time in any case, for those that another machine writes. A round that fails is
//! told of and the next one tries again; what could not be copied waits for an hour.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::format::{Folder, SnapshotId};
use crate::fsutil::FolderWatch;
use crate::ops::{OpError, Result};
use crate::progress::Silent;
use crate::repo::Repository;

use super::{ReplicateOptions, ReplicateReport, run_into};

/// Longest time between two looks where the kernel tells of new snapshots, and where it does not.
const LOOKS: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(10)];
/// Longest wait without a look at the user's wish to stop.
const NAP: Duration = Duration::from_millis(250);
/// How long a snapshot waits that could not be copied.
const AGAIN: Duration = Duration::from_secs(60 * 60);

/// What a round is told as.
pub type Told<'a> = dyn FnMut(&ReplicateReport, Option<&OpError>) + 'a;

/// Copies until the user interrupts; `told` gets each round that did something, and the first one.
///
/// # Errors
/// Where the first round fails.
pub fn follow(
    from: &Repository,
    to: &Repository,
    options: &ReplicateOptions,
    told: &mut Told<'_>,
    interrupted: &AtomicBool,
) -> Result<()> {
    let folder = from.folder_path(Folder::Snapshots);
    let watch = folder.and_then(|folder| {
        let watch = FolderWatch::new(&folder);
        let said =
            |err| tracing::warn!("{} is not watched, but looked at: {err}", folder.display());
        watch.map_err(said).ok()
    });
    let mut failed: BTreeMap<SnapshotId, Instant> = BTreeMap::new();
    let mut is_first = true;
    loop {
        failed.retain(|_, since| since.elapsed() < AGAIN);
        let except = options.except.iter().chain(failed.keys()).copied().collect();
        let options = ReplicateOptions { except, ..options.clone() };
        let mut report = ReplicateReport::default();
        let result = run_into(from, to, &options, &mut report, &Silent, interrupted);
        let is_over = matches!(result, Err(OpError::Interrupted));
        if !is_over && is_first && result.is_err() {
            return result;
        }
        failed.extend(report.failed.iter().map(|it| (it.snapshot, Instant::now())));
        let idle = report.copied.is_empty() && report.failed.is_empty();
        if is_first || !idle || (result.is_err() && !is_over) {
            told(&report, result.as_ref().err().filter(|_| !is_over));
        }
        is_first = false;
        if is_over || wait(watch.as_ref(), interrupted) {
            return Ok(());
        }
    }
}

/// Waits until there may be something new; whether the user wants to stop.
fn wait(watch: Option<&FolderWatch>, interrupted: &AtomicBool) -> bool {
    let [watched, unwatched] = LOOKS;
    let until = Instant::now() + if watch.is_some() { watched } else { unwatched };
    loop {
        if interrupted.load(Ordering::Relaxed) {
            return true;
        }
        let left = until.saturating_duration_since(Instant::now()).min(NAP);
        if left.is_zero() {
            return false;
        }
        match watch.map(|watch| watch.wait(left)) {
            Some(Ok(true)) => return false,
            Some(Ok(false)) => {}
            Some(Err(_)) | None => std::thread::sleep(left),
        }
    }
}
