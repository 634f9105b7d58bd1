//! What a verification did, for the ledger.

use crate::format::{LedgerEvent, Time, Verified, limits};
use crate::repo::{RepoError, Repository};

use super::VerifyReport;

/// Writes the result into the ledger, also that of a run that did not come to its end; the report
/// names the record then. More packs than a record may list make several records.
///
/// # Errors
/// Where the repository takes no record: it may be read-only.
pub fn record(
    repo: &Repository,
    report: &mut VerifyReport,
    at: Time,
    host: &str,
    program: &str,
) -> Result<(), RepoError> {
    report.read.sort_unstable();
    report.read.dedup_by_key(|(prefix, _)| *prefix);
    let parts = match report.read.is_empty() {
        true => vec![[].as_slice()],
        false => report.read.chunks(limits::LEDGER_PACKS_MAX).collect(),
    };
    for part in parts {
        let event = LedgerEvent::Verified(verified(report, part));
        let object = repo.append_ledger(at, host, program, event)?;
        report.recorded = Some(object.to_string());
    }
    Ok(())
}

fn verified(report: &VerifyReport, packs: &[(u64, u64)]) -> Verified {
    let damaged = report.damaged.iter().take(limits::LEDGER_DAMAGED_MAX);
    Verified {
        duration_ns: report.duration_ms.saturating_mul(1_000_000),
        complete: report.complete,
        snapshots: report.snapshots,
        packs_stored: report.packs_stored,
        bytes_stored: report.bytes_stored,
        bytes_read: packs.iter().map(|(_, len)| len).sum(),
        packs: packs.iter().map(|(prefix, _)| *prefix).collect(),
        damaged_count: report.damaged_count,
        damaged: damaged.map(|damaged| damaged.object.clone()).collect(),
    }
}
