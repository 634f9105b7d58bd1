//! Pages on their way into packs: tree pages, extent pages.

use crate::codec::BlockEncoder;
use crate::format::{ChunkId, PackKind};

use super::directory::PutPage;
use super::error::Result;
use super::open_blocks::OpenBlocks;
use super::session::Session;

/// Puts pages into blocks of meta packs; one per thread.
pub struct PageWriter<'s, 'r> {
    session: &'s Session<'r>,
    blocks: OpenBlocks<'s, 'r>,
    delta: bool,
}

impl<'s, 'r> PageWriter<'s, 'r> {
    /// A writer with its own open blocks. With `delta`, a page may be told from the one that it
    /// replaces.
    #[must_use]
    pub fn new(session: &'s Session<'r>, encoder: BlockEncoder, delta: bool) -> Self {
        Self { session, blocks: OpenBlocks::new(session, encoder), delta }
    }

    /// Writes the open blocks.
    pub fn flush(&mut self) -> Result<()> {
        self.blocks.flush()
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
        self.blocks.put(PackKind::Meta, (id, bytes), base.as_ref())?;
        Ok(id)
    }

    fn has_page(&mut self, id: &ChunkId) -> bool {
        self.session.has_chunk(id)
    }
}
