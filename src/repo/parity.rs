//! Parity of packs: written beside each new one, built for those without, checked.
//!
//! Parity comes after its pack and before the segment that names the pack. A pack without is no
//! damage, only unprotected; who builds parity reads the pack and proves it first, so parity never
//! makes damage last.

use std::collections::HashMap;

use crate::codec::parity::{ParityOf, check_of, protect};
use crate::format::parity::{Parity, ParityHead};
use crate::format::{Folder, ObjectKey, PackId, PackKind, limits};

use super::Repository;
use super::error::{InObject, RepoError, Result};
use super::verify::StoredPack;

impl Repository {
    /// Stores the parity of a pack that was just written. Returns the bytes that it takes.
    pub(crate) fn put_parity(
        &self,
        kind: PackKind,
        pack: PackId,
        stored: &[u8],
        permille: u16,
    ) -> Result<u64> {
        let object = ObjectKey::Parity(pack);
        let parity = protect(self.parity_of(kind, pack), stored, permille)
            .map_err(|err| RepoError::corrupt(object, err.to_string()))?;
        self.storage().put_new(&object, &parity)?;
        Ok(parity.len() as u64)
    }

    fn parity_of(&self, kind: PackKind, pack: PackId) -> ParityOf {
        ParityOf { kind, repository: self.vault().repository(), pack }
    }

    /// All parity objects, and their lengths by the pack's id; and the names in their folder that
    /// no icecore wrote.
    pub fn stored_parity(&self) -> Result<(HashMap<PackId, u64>, Vec<String>)> {
        let (mut found, mut strangers) = (HashMap::new(), Vec::new());
        for listed in self.storage().list(Folder::Parity)? {
            match listed.key {
                Some(ObjectKey::Parity(id)) => drop(found.insert(id, listed.len)),
                _ => strangers.push(listed.name),
            }
        }
        Ok((found, strangers))
    }

    /// Reads a pack's parity whole: both heads and lists, and each recovery shard. Gives its head.
    pub fn check_parity(&self, kind: PackKind, pack: PackId) -> Result<ParityHead> {
        let object = ObjectKey::Parity(pack);
        let bytes = self.storage().get(&object, limits::PARITY_MAX)?;
        let parity = Parity::decode(&bytes).in_object(&object)?;
        check_of(&parity, self.parity_of(kind, pack))
            .map_err(|err| RepoError::corrupt(object, err.to_string()))?;
        let shards = parity.head.recoveries as usize;
        let bad = (0..shards).filter(|number| parity.recovery(*number).is_none()).count();
        if bad > 0 {
            let what = format!("{bad} of {shards} recovery shards are not what they were");
            return Err(RepoError::corrupt(object, what));
        }
        if !parity.is_whole {
            return Err(RepoError::corrupt(object, "one of its two heads or lists is not whole"));
        }
        Ok(parity.head)
    }

    /// Builds the parity of a stored pack that has none, or a damaged one, or one that makes up for
    /// less, which it replaces. Returns the bytes that it takes.
    ///
    /// # Errors
    /// Where the pack is not what its name says: damage would be made to last.
    pub fn build_parity(&self, pack: &StoredPack, permille: u16) -> Result<u64> {
        let stored = self.proved_bytes(pack)?;
        let object = ObjectKey::Parity(pack.id);
        let parity = protect(self.parity_of(pack.kind, pack.id), &stored, permille)
            .map_err(|err| RepoError::corrupt(object, err.to_string()))?;
        // In its place at once: the pack is never without what protected it.
        match self.storage().replace_damaged(&object, &parity) {
            Err(err) if err.is_not_found() => self.storage().put_new(&object, &parity)?,
            result => result?,
        }
        Ok(parity.len() as u64)
    }
}
