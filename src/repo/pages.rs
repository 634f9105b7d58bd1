//! Pages on their way into packs: tree pages, extent pages.

use crate::codec::BlockEncoder;
use crate::format::{ChunkId, PackKind};

use super::directory::PutPage;
use super::error::Result;
use super::pack::BlockDraft;
use super::session::Session;

/// Plain bytes of a block of pages that are told from older ones. Who reads one of them reads the
/// bases of all, which may lie far apart: so fewer than in an ordinary block.
const TOLD_BLOCK: usize = 128 << 10;

/// Puts pages into blocks of meta packs; one per thread.
pub struct PageWriter<'s, 'r> {
    session: &'s Session<'r>,
    encoder: BlockEncoder,
    whole: BlockDraft,
    /// Pages that are told from older ones.
    told: BlockDraft,
    delta: bool,
}

impl<'s, 'r> PageWriter<'s, 'r> {
    /// A writer with its own open blocks. With `delta`, a page may be told from the one that it
    /// replaces.
    #[must_use]
    pub fn new(session: &'s Session<'r>, encoder: BlockEncoder, delta: bool) -> Self {
        let (whole, told) = (BlockDraft::default(), BlockDraft::default());
        Self { session, encoder, whole, told, delta }
    }

    /// Writes the open blocks.
    pub fn flush(&mut self) -> Result<()> {
        for draft in [&mut self.whole, &mut self.told] {
            let full = std::mem::take(draft);
            self.session.write_block(PackKind::Meta, &full, &mut self.encoder)?;
        }
        Ok(())
    }
}

impl PutPage for PageWriter<'_, '_> {
    fn put_page(&mut self, bytes: &[u8], like: Option<&ChunkId>) -> Result<ChunkId> {
        let id = self.session.id_of(PackKind::Meta, bytes);
        if !self.session.claim(&id)? {
            return Ok(id);
        }
        let like = like.filter(|_| self.delta);
        let base = like.and_then(|like| self.session.base_for(&id, bytes, None, like));
        let (draft, is_full) = match base {
            Some(_) => {
                let is_full = !self.told.is_empty() && self.told.plain.len() >= TOLD_BLOCK;
                (&mut self.told, is_full)
            }
            None => {
                let is_full = self.whole.is_full_for(bytes.len());
                (&mut self.whole, is_full)
            }
        };
        if is_full {
            let full = std::mem::take(draft);
            self.session.write_block(PackKind::Meta, &full, &mut self.encoder)?;
        }
        match base {
            Some(base) => {
                draft.push_with_base((id, bytes), (base.id, &base.bytes), base.old);
            }
            None => draft.push(id, bytes),
        }
        Ok(id)
    }

    fn has_page(&mut self, id: &ChunkId) -> bool {
        self.session.has_chunk(id)
    }
}
