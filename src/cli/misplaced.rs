//! What is in no index segment and lies in a pack that none lists: the way out is another one than
//! for what is lost.

use crate::format::ChunkId;
use crate::ops::OpError;
use crate::repo::{RepoError, Repository};

use super::error::{CliError, INDEX, chain};
use super::progress::talk;

/// The same error, with the hint to build the index anew where that helps.
pub(crate) fn explained(repo: &Repository, err: anyhow::Error) -> anyhow::Error {
    let chunk = err.chain().find_map(|part| match part.downcast_ref::<OpError>() {
        Some(OpError::Repo(err)) => err.missing_chunk(),
        _ => part.downcast_ref::<RepoError>().and_then(RepoError::missing_chunk),
    });
    match chunk.is_some_and(|chunk| repo.is_misplaced(&chunk)) {
        true => CliError::damage(chain(&err)).hint(INDEX).into(),
        false => err,
    }
}

/// The hint where the verb went on: `missing` is a chunk that it did without.
pub(crate) fn hint(repo: &Repository, missing: Option<ChunkId>) {
    if missing.is_some_and(|chunk| repo.is_misplaced(&chunk)) {
        talk(&format!("  hint: {INDEX}"));
    }
}
