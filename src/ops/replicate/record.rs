//! What a copy did, for the ledger of the destination.

use crate::format::{LedgerEvent, Replicated, ReplicatedSnapshot, RepositoryId, limits};
use crate::ops::OpError;
use crate::repo::Repository;
use crate::units::chain;

use super::{ReplicateOptions, ReplicateReport};

/// Writes the result into the ledger, unless nothing was tried: nothing was missing. A ledger that
/// takes no record ends nothing, for the copies are there.
pub(super) fn record(
    to: &Repository,
    options: &ReplicateOptions,
    report: &mut ReplicateReport,
    error: Option<&OpError>,
) {
    if report.copied.is_empty() && report.failed.is_empty() && error.is_none() {
        return;
    }
    let error = error.map_or_else(|| error_of(report), |err| chain(err));
    let pair = |copied: &super::CopiedSnapshot| {
        Some(ReplicatedSnapshot { origin: copied.snapshot, copy: copied.copy? })
    };
    let pairs: Vec<_> = report.copied.iter().filter_map(pair).collect();
    let parts = match pairs.is_empty() {
        true => vec![[].as_slice()],
        false => pairs.chunks(limits::LEDGER_LIST_MAX).collect(),
    };
    for (number, part) in parts.into_iter().enumerate() {
        let replicated = Replicated {
            duration_ns: u64::try_from(report.duration.as_nanos()).unwrap_or(u64::MAX),
            from: report.from.unwrap_or(RepositoryId([0; 16])),
            snapshots: part.to_vec(),
            bytes_stored: if number == 0 { report.bytes_stored } else { 0 },
            error: error.clone(),
        };
        let (now, event) = (crate::clock::now(), LedgerEvent::Replicated(replicated));
        match to.append_ledger(now, &options.host, &options.program, event) {
            Ok(object) => report.recorded = Some(object.to_string()),
            Err(err) => tracing::warn!("not recorded in the ledger: {}", chain(&err)),
        }
    }
}

/// The first thing that was not copied, and how many there are.
fn error_of(report: &ReplicateReport) -> String {
    let failed = report.failed.iter().map(|it| format!("snapshot {}: {}", it.snapshot, it.what));
    let mut all = failed.chain(report.damaged.iter().cloned());
    let Some(first) = all.next() else { return String::new() };
    match all.count() {
        0 => first,
        more => format!("{first}; and {more} more"),
    }
}
