//! Blocks into packs, packs into the storage, and what they hold into index segments.
//!
//! A pack is durable before a segment names it; the thread that fills one stores it.

use std::sync::Mutex;
use std::sync::atomic::Ordering;

use crate::codec::BlockEncoder;
use crate::format::index::SegmentBuilder;
use crate::format::pack::BlockEntry;
use crate::format::{ChunkEntry, ObjectKey, PackKind};
use crate::repo::error::{RepoError, Result};
use crate::repo::index;
use crate::repo::pack::{BlockDraft, CodedBlock, FinishedPack, PackBuilder, records};
use crate::sync::{Permit, lock};
use crate::units::chain;

use super::Session;

/// Packs whose chunks go into one early segment, so that a killed ingest serves the next one.
const PACKS_PER_SEGMENT: usize = 8;

/// A pack that takes blocks, and the right to hold it in memory.
pub(super) struct OpenPack {
    builder: PackBuilder,
    permit: Permit,
}

impl Session<'_> {
    /// Codes and appends a block; stores the pack when it is full. Empty drafts are ignored.
    pub fn write_block(
        &self,
        kind: PackKind,
        draft: &BlockDraft,
        encoder: &mut BlockEncoder,
    ) -> Result<()> {
        if draft.is_empty() {
            return Ok(());
        }
        let result = self.try_write_block(kind, draft, encoder);
        if result.is_err() {
            self.failed.store(true, Ordering::SeqCst);
        }
        result
    }

    fn try_write_block(
        &self,
        kind: PackKind,
        draft: &BlockDraft,
        encoder: &mut BlockEncoder,
    ) -> Result<()> {
        self.refuse_failed()?;
        let coded = draft.code(encoder);
        self.append(kind, &draft.chunks, draft.plain.len(), coded)
    }

    /// Appends a block that was coded before, as another pack's footer lists it.
    pub(crate) fn write_coded(
        &self,
        kind: PackKind,
        block: &BlockEntry,
        coded: CodedBlock,
    ) -> Result<()> {
        let appended = self
            .refuse_failed()
            .and_then(|()| self.append(kind, &block.chunks, block.plain_len as usize, coded));
        appended.inspect_err(|_| self.failed.store(true, Ordering::SeqCst))
    }

    fn append(
        &self,
        kind: PackKind,
        chunks: &[ChunkEntry],
        plain_len: usize,
        coded: CodedBlock,
    ) -> Result<()> {
        self.added_chunks.fetch_add(chunks.len() as u64, Ordering::Relaxed);
        self.added_plain.fetch_add(plain_len as u64, Ordering::Relaxed);
        let full = {
            let mut slot = lock(self.open_pack(kind));
            let mut pack = match slot.take() {
                Some(pack) => pack,
                // Waits for packs to be stored, which needs no slot: this is what slows coding down
                // to what the storage takes.
                None => self.new_pack(kind)?,
            };
            pack.builder.append(chunks, plain_len, coded);
            if pack.builder.is_full() {
                Some(pack)
            } else {
                *slot = Some(pack);
                None
            }
        };
        match full {
            Some(pack) => self.store_pack(pack),
            None => Ok(()),
        }
    }

    fn new_pack(&self, kind: PackKind) -> Result<OpenPack> {
        let permit = self.packs.take();
        Ok(OpenPack { builder: PackBuilder::new(self.repo.vault(), kind)?, permit })
    }

    const fn open_pack(&self, kind: PackKind) -> &Mutex<Option<OpenPack>> {
        let [data, meta] = &self.open;
        match kind {
            PackKind::Data => data,
            PackKind::Meta => meta,
        }
    }

    fn refuse_failed(&self) -> Result<()> {
        if self.failed.load(Ordering::SeqCst) {
            return Err(RepoError::SessionFailed { session: self.id });
        }
        Ok(())
    }

    fn store_pack(&self, pack: OpenPack) -> Result<()> {
        let OpenPack { builder, permit } = pack;
        let mut pack = builder.finish();
        let object = ObjectKey::Pack(pack.info.kind, pack.info.id);
        self.repo.storage().put_new(&object, &pack.bytes)?;
        let mut added = pack.info.stored_len;
        if self.parity_permille > 0 {
            // Before any segment names the pack: who relies on it finds it protected.
            let (kind, id) = (pack.info.kind, pack.info.id);
            added += self.repo.put_parity(kind, id, &pack.bytes, self.parity_permille)?;
        }
        self.added_stored.fetch_add(added, Ordering::Relaxed);
        pack.bytes = Vec::new();
        drop(permit);
        let ready = {
            let mut unindexed = lock(&self.unindexed);
            unindexed.push(pack);
            if unindexed.len() < PACKS_PER_SEGMENT {
                Vec::new()
            } else {
                std::mem::take(&mut *unindexed)
            }
        };
        if !ready.is_empty() {
            self.write_segment(&ready)?;
            self.merge_index();
        }
        self.beat_when_due()
    }

    pub(super) fn write_segment(&self, packs: &[FinishedPack]) -> Result<()> {
        if packs.is_empty() {
            return Ok(());
        }
        let mut builder = SegmentBuilder::default();
        for pack in packs {
            let number = builder.add_pack(pack.info);
            records(&pack.footer, number).for_each(|record| builder.add(record));
        }
        let body = builder.encode();
        let (id, stored) = index::seal(self.repo.vault(), &body)?;
        self.repo.storage().put_new(&ObjectKey::Segment(id), &stored)?;
        self.added_stored.fetch_add(stored.len() as u64, Ordering::Relaxed);
        self.repo.index().add(id, body)?;
        // They are found through the index now; the claims of a long session would fill the memory.
        for chunk in packs.iter().flat_map(|pack| pack.footer.blocks.iter()).flat_map(|b| &b.chunks)
        {
            if let Some(shard) = self.claims_of(&chunk.id) {
                lock(shard).remove(&chunk.id);
            }
        }
        Ok(())
    }

    /// Merges index segments where there are many of a size, unless another thread is at it. Takes
    /// the calling thread for that long: seconds for ten million chunks. A failure is logged, for
    /// nothing depends on it. What it writes does not count as added.
    pub fn merge_index(&self) {
        if self.merging.swap(true, Ordering::SeqCst) {
            return;
        }
        let doomed = self.repo.generations().map(|generations| generations.doomed());
        if let Err(err) = doomed.and_then(|doomed| self.repo.index().merge(&doomed)) {
            tracing::warn!("cannot merge index segments: {}", chain(&err));
        }
        self.merging.store(false, Ordering::SeqCst);
    }

    /// Stores what is still open: packs first, then their segment.
    pub fn flush(&self) -> Result<()> {
        self.refuse_failed()?;
        for kind in [PackKind::Data, PackKind::Meta] {
            let pack = lock(self.open_pack(kind)).take();
            if let Some(pack) = pack {
                self.store_pack(pack)?;
            }
        }
        let rest = std::mem::take(&mut *lock(&self.unindexed));
        self.write_segment(&rest)
    }
}
