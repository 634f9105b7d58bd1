//! Stored segments: fetched and opened, sealed and named.

use crate::codec::aead::TAG_LEN;
use crate::format::{Contents, OBJECT_HEADER_LEN, ObjectHeader, ObjectKey, SegmentId, limits};
use crate::repo::error::{InObject, RepoError, Result};
use crate::repo::vault::Vault;
use crate::storage::Storage;

fn check_header(storage: &dyn Storage, vault: &Vault, object: &ObjectKey) -> Result<ObjectHeader> {
    let bytes = storage.read_at(object, 0, OBJECT_HEADER_LEN)?;
    let header = ObjectHeader::decode(Contents::Segment, &bytes).in_object(object)?;
    vault.check_header(object, &header)?;
    Ok(header)
}

/// Reads a whole stored segment and opens its body, checked against its name.
pub(crate) fn fetch(storage: &dyn Storage, vault: &Vault, id: SegmentId) -> Result<Vec<u8>> {
    let object = ObjectKey::Segment(id);
    let header = check_header(storage, vault, &object)?;
    let stored = storage.get(&object, u64::MAX)?;
    if blake3::hash(&stored).as_bytes() != &id.0 {
        return Err(RepoError::corrupt(object, "its bytes are not what its name says"));
    }
    let sealed = stored.get(OBJECT_HEADER_LEN..).unwrap_or_default();
    if vault.master().is_none() {
        return Ok(sealed.to_vec());
    }
    let cipher = vault.part_cipher(Contents::Segment, header.salt);
    let record_len = limits::SEGMENT_RECORD + TAG_LEN;
    let records = sealed.len().div_ceil(record_len);
    let plain_len = (sealed.len() as u64).saturating_sub((records * TAG_LEN) as u64);
    let mut body = Vec::with_capacity(sealed.len());
    for (number, record) in sealed.chunks(record_len).enumerate() {
        let mut record = record.to_vec();
        if !cipher.open(number as u64, &plain_len.to_le_bytes(), &mut record) {
            let what = format!("the seal of record {number} does not hold");
            return Err(RepoError::corrupt(object, what));
        }
        body.append(&mut record);
    }
    Ok(body)
}

/// The stored form of a segment's body, and its id.
pub(crate) fn seal(vault: &Vault, body: &[u8]) -> Result<(SegmentId, Vec<u8>)> {
    let header = vault.new_header(Contents::Segment)?;
    let cipher = vault.part_cipher(Contents::Segment, header.salt);
    let plain_len = (body.len() as u64).to_le_bytes();
    let mut stored = Vec::with_capacity(OBJECT_HEADER_LEN + body.len() + body.len() / 1024);
    stored.extend_from_slice(&header.encode());
    for (number, record) in body.chunks(limits::SEGMENT_RECORD).enumerate() {
        let mut record = record.to_vec();
        cipher.seal(number as u64, &plain_len, &mut record);
        stored.append(&mut record);
    }
    let id = SegmentId(*blake3::hash(&stored).as_bytes());
    Ok((id, stored))
}
