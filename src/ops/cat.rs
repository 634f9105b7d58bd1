//! A file's bytes, in order, holes as zeros.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::format::Body;
use crate::repo::Repository;

use super::path::Resolved;
use super::{OpError, Result};

/// Bytes handed over at a time.
const STEP_BYTES: usize = 1 << 20;

/// Gives the content of a regular file to `sink` piece by piece; returns its length.
///
/// # Errors
/// Where the name is no regular file, and where the content cannot be read: what was given until
/// then is right.
pub fn run<E: From<OpError>>(
    repo: &Repository,
    at: &Resolved,
    interrupted: &AtomicBool,
    mut sink: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<u64, E> {
    let Body::File(file) = &at.node.body else {
        return Err(no_file(at).into());
    };
    let mut buffer = vec![0; STEP_BYTES];
    let mut offset = 0;
    loop {
        if interrupted.load(Ordering::Relaxed) {
            return Err(OpError::Interrupted.into());
        }
        let len = repo.read_at(file, offset, &mut buffer).map_err(OpError::from)?;
        let Some(bytes) = buffer.get(..len).filter(|bytes| !bytes.is_empty()) else {
            return Ok(offset);
        };
        sink(bytes)?;
        offset += len as u64;
    }
}

fn no_file(at: &Resolved) -> OpError {
    let what = match &at.node.body {
        Body::Directory { .. } => "a directory".to_owned(),
        Body::Symlink { target } => {
            format!("a symbolic link to {}", super::path::escaped(target))
        }
        _ => "not a regular file".to_owned(),
    };
    OpError::Input(format!("{} is {what}", super::path::escaped(&at.path)))
}
