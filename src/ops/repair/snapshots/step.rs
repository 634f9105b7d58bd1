//! What is to be done about one damaged object.

use crate::format::ObjectKey;
use crate::ops::Result;
use crate::repo::Repository;

use super::{Replica, Step};

/// What to do about a damaged object of a folder that holds `keys`.
pub(super) fn step(
    repo: &Repository,
    object: ObjectKey,
    keys: &[ObjectKey],
    replica: Option<&Replica<'_>>,
) -> Result<(Step, &'static str)> {
    if replica.is_some_and(|replica| replica.bytes(repo, &object).is_some()) {
        return Ok((Step::Replace, "the replica has it whole"));
    }
    let is_later = |key: &ObjectKey| match (*key, object) {
        (ObjectKey::Beat(a, n), ObjectKey::Beat(b, m)) => a == b && n > m,
        (ObjectKey::Pin(a, n), ObjectKey::Pin(b, m)) => a == b && n > m,
        // Only one that can be read says more than this one did.
        (ObjectKey::Tags(a, n), ObjectKey::Tags(b, m)) => {
            a == b && n > m && repo.check_mark(key).is_ok()
        }
        _ => false,
    };
    let is_over = || match object {
        ObjectKey::Beat(session, _) => repo.snapshot_ids().map(|ids| ids.contains(&session)),
        _ => Ok(false),
    };
    Ok(match object {
        ObjectKey::Forgotten(_) => (Step::Remove, "the snapshot is no longer forgotten"),
        ObjectKey::Tags(..) if keys.iter().any(is_later) => {
            (Step::Remove, "a later record is there")
        }
        ObjectKey::Tags(..) => (
            Step::Leave,
            "the snapshot counts as protected: icecore protect or unprotect it, then repair again",
        ),
        ObjectKey::Decision(n) if !keys.contains(&ObjectKey::Candidates(n)) => {
            (Step::Void, "all that it named is gone")
        }
        ObjectKey::Decision(n) if repo.check_mark(&ObjectKey::Candidates(n)).is_ok() => {
            (Step::Remove, "its candidates are there: the next prune decides anew")
        }
        ObjectKey::Decision(_) => (Step::Void, "nobody knows what it named: nothing of it will go"),
        ObjectKey::Candidates(n) if !keys.contains(&ObjectKey::Decision(n)) => {
            (Step::Void, "nothing of it was decided, and nothing of it will go")
        }
        ObjectKey::Candidates(_) => (Step::Leave, "the next prune removes it"),
        ObjectKey::Beat(..) | ObjectKey::Pin(..) if keys.iter().any(is_later) => {
            (Step::Remove, "a later beat is there")
        }
        ObjectKey::Settings(n) => settings_step(repo, n)?,
        ObjectKey::Ledger(..) => (Step::Record, "it tells nothing any more; the ledger says so"),
        ObjectKey::Beat(..) if is_over()? => (Step::Remove, "the session has ended"),
        ObjectKey::Pin(..) => (Step::Remove, "a reader that lives pins again within hours"),
        ObjectKey::Beat(..) => {
            (Step::Leave, "who wrote it may live; a prune waits for it as long as for others")
        }
        _ => (Step::Leave, "only a replica has it: name one with --from"),
    })
}

/// A candidate for what holds goes only once a later record holds.
fn settings_step(repo: &Repository, number: u64) -> Result<(Step, &'static str)> {
    let could_hold = repo
        .damaged_settings()?
        .iter()
        .any(|err| err.object() == ObjectKey::Settings(number).to_string());
    Ok(match (could_hold, repo.settings()?) {
        (false, _) => (Step::Remove, "a later record holds"),
        (true, Some(_)) => (Step::Renew, "the last one that can be read holds, and is set anew"),
        (true, None) => (
            Step::Leave,
            "what holds is not known: icecore parity --set or --off, then repair again",
        ),
    })
}
