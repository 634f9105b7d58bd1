//! Objects of one frame each: snapshots, marks, beats, records. One way to read and to put them.

use crate::format::{FrameKind, ObjectKey, frame};

use super::Repository;
use super::error::Result;

impl Repository {
    /// Reads an object whole, and opens its payload. No longer one is read than its kind may be.
    pub(super) fn read_framed(&self, object: &ObjectKey, kind: FrameKind) -> Result<Vec<u8>> {
        let bytes = self.get_framed(object, kind)?;
        self.vault().decode_object(object, kind, &bytes)
    }

    /// The same as it is stored.
    pub(super) fn get_framed(&self, object: &ObjectKey, kind: FrameKind) -> Result<Vec<u8>> {
        let max = (kind.payload_max() + frame::HEADER_LEN) as u64;
        Ok(self.storage().get(object, max)?)
    }

    /// Puts a payload under a new name; an error where that is taken.
    pub(super) fn put_framed(
        &self,
        object: &ObjectKey,
        kind: FrameKind,
        payload: Vec<u8>,
    ) -> Result<()> {
        let bytes = self.vault().encode_object(object, kind, payload)?;
        Ok(self.storage().put_new(object, &bytes)?)
    }

    /// Removes an object; one that is gone is removed. Whether it was there.
    pub(crate) fn delete_if_there(&self, object: &ObjectKey) -> Result<bool> {
        match self.storage().delete(object) {
            Err(err) if err.is_not_found() => Ok(false),
            result => result.map(|()| true).map_err(Into::into),
        }
    }
}
