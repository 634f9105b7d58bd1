//! Which packs are not whole.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use crate::format::PackId;
use crate::ops::Result;
use crate::ops::threads::for_each;
use crate::progress::Progress;
use crate::repo::{RepoError, Repository, StoredPack};
use crate::sync::lock;

/// Packs whose bytes are not what their names say, several read at a time; and of those why they
/// cannot be read, where that is so.
pub(super) fn scrub(
    repo: &Repository,
    packs: &[StoredPack],
    progress: &dyn Progress,
    interrupted: &AtomicBool,
) -> Result<(Vec<StoredPack>, HashMap<PackId, RepoError>)> {
    let found = Mutex::new((Vec::new(), HashMap::new()));
    for_each(packs, interrupted, |pack| {
        match repo.is_pack_whole(pack.kind, pack.id) {
            Ok(true) => {}
            Ok(false) => lock(&found).0.push(*pack),
            Err(err) => {
                let mut found = lock(&found);
                found.0.push(*pack);
                found.1.insert(pack.id, err);
            }
        }
        progress.done(0, pack.len);
    })?;
    Ok(found.into_inner().unwrap_or_default())
}
