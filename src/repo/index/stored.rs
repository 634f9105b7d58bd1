//! Stored segments: fetched and opened, sealed and named, both in pieces of a few MiB, since one
//! segment may have more bytes than the machine has memory.

use std::io::{self, BufWriter, Write};

use crate::codec::aead::TAG_LEN;
use crate::format::{Contents, OBJECT_HEADER_LEN, ObjectHeader, ObjectKey, SegmentId, limits};
use crate::repo::error::{InObject, RepoError, Result};
use crate::repo::vault::Vault;
use crate::storage::{Storage, StorageError};

use super::cache::BodyFile;
use super::open::Body;

/// A segment of more stored bytes than this is never held in memory: a million chunks.
pub(super) const IN_MEMORY_MAX: u64 = 64 << 20;
/// Records read from the storage at once.
const RECORDS_PER_READ: usize = 8;

/// What errors call a segment that has no name yet.
pub(super) const UNNAMED: ObjectKey = ObjectKey::Segment(SegmentId([0; 32]));

/// Why bytes did not get from a segment to a file, or from a file to a segment.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    #[error(transparent)]
    Repo(#[from] RepoError),
    #[error("cannot write a copy")]
    File(#[from] io::Error),
}

impl CopyError {
    /// What it means for a segment whose copy is in the folder for temporary files.
    pub(super) fn of_temporary(self, object: &ObjectKey) -> RepoError {
        match self {
            Self::Repo(err) => err,
            Self::File(source) => {
                let location = std::env::temp_dir().display().to_string();
                let what = format!("a temporary copy of {object}");
                StorageError::Io { action: "write", what, location, source }.into()
            }
        }
    }
}

/// Reads a whole stored segment and opens its body, checked against its name.
pub(crate) fn fetch(storage: &dyn Storage, vault: &Vault, id: SegmentId) -> Result<Body> {
    let object = ObjectKey::Segment(id);
    let fetched = if storage.len(&object)? <= IN_MEMORY_MAX {
        let mut body = Vec::new();
        fetch_into(storage, vault, id, &mut body).map(|()| Body::Owned(body))
    } else {
        fetch_to_file(storage, vault, id, BodyFile::create(None)).map(|(_, body)| body)
    };
    fetched.map_err(|err| err.of_temporary(&object))
}

/// The same, to a file.
pub(super) fn fetch_to_file(
    storage: &dyn Storage,
    vault: &Vault,
    id: SegmentId,
    file: io::Result<BodyFile>,
) -> Result<(BodyFile, Body), CopyError> {
    let file = file?;
    let mut out = BufWriter::new(file.file());
    fetch_into(storage, vault, id, &mut out)?;
    out.flush()?;
    drop(out);
    let map = file.finish()?;
    Ok((file, Body::Mapped(map)))
}

/// What comes before an error is in `out`, and nothing of it is to be trusted.
fn fetch_into(
    storage: &dyn Storage,
    vault: &Vault,
    id: SegmentId,
    out: &mut impl Write,
) -> Result<(), CopyError> {
    let object = ObjectKey::Segment(id);
    let head = storage.read_at(&object, 0, OBJECT_HEADER_LEN).map_err(RepoError::from)?;
    let header = ObjectHeader::decode(Contents::Segment, &head).in_object(&object)?;
    vault.check_header(&object, &header)?;
    let cipher = vault.part_cipher(Contents::Segment, header.salt);
    let tag_len = if vault.master().is_some() { TAG_LEN } else { 0 };
    let record_len = limits::SEGMENT_RECORD + tag_len;
    let stored_len = storage.len(&object).map_err(RepoError::from)?;
    let sealed_len = stored_len.saturating_sub(OBJECT_HEADER_LEN as u64);
    let tags = sealed_len.div_ceil(record_len as u64) * tag_len as u64;
    let plain_len = sealed_len.saturating_sub(tags).to_le_bytes();
    let mut hasher = blake3::Hasher::new();
    hasher.update(&head);
    let (mut offset, mut number) = (OBJECT_HEADER_LEN as u64, 0_u64);
    while offset < stored_len {
        let len = (stored_len - offset).min((RECORDS_PER_READ * record_len) as u64) as usize;
        let bytes = storage.read_at(&object, offset, len).map_err(RepoError::from)?;
        hasher.update(&bytes);
        offset += len as u64;
        for record in bytes.chunks(record_len) {
            let mut record = record.to_vec();
            if !cipher.open(number, &plain_len, &mut record) {
                let what = format!("the seal of record {number} does not hold");
                return Err(RepoError::corrupt(object, what).into());
            }
            out.write_all(&record)?;
            number += 1;
        }
    }
    if hasher.finalize().as_bytes() != &id.0 {
        return Err(RepoError::corrupt(object, "its bytes are not what its name says").into());
    }
    Ok(())
}

/// The stored form of a segment's body, and its id.
pub(crate) fn seal(vault: &Vault, body: &[u8]) -> Result<(SegmentId, Vec<u8>)> {
    let mut stored = Vec::with_capacity(OBJECT_HEADER_LEN + body.len() + body.len() / 1024);
    match seal_into(vault, body, &mut stored) {
        Ok(id) => Ok((id, stored)),
        Err(err) => Err(err.of_temporary(&UNNAMED)),
    }
}

/// Writes the stored form of a segment's body to `out`; returns the id.
pub(super) fn seal_into(
    vault: &Vault,
    body: &[u8],
    out: &mut impl Write,
) -> Result<SegmentId, CopyError> {
    let header = vault.new_header(Contents::Segment)?;
    let cipher = vault.part_cipher(Contents::Segment, header.salt);
    let plain_len = (body.len() as u64).to_le_bytes();
    let mut hasher = blake3::Hasher::new();
    let mut put = |bytes: &[u8]| {
        hasher.update(bytes);
        out.write_all(bytes)
    };
    put(&header.encode())?;
    for (number, record) in body.chunks(limits::SEGMENT_RECORD).enumerate() {
        let mut record = record.to_vec();
        cipher.seal(number as u64, &plain_len, &mut record);
        put(&record)?;
    }
    Ok(SegmentId(*hasher.finalize().as_bytes()))
}
