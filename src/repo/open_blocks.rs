//! Blocks that are open in a session: which chunk goes with which others, and when they are written.

use crate::codec::BlockEncoder;
use crate::codec::classes::DATABASE_CHUNK;
use crate::format::{ChunkId, PackKind};

use super::chunks::BaseChunk;
use super::error::Result;
use super::pack::BlockDraft;
use super::session::Session;

/// Plain bytes of a block of pages that are told from older ones. Who reads one of them reads the
/// bases of all, which may lie far apart: so fewer than in an ordinary block.
const TOLD_PAGES: usize = 128 << 10;

/// The open blocks of one thread, which [`Self::flush`] writes.
pub struct OpenBlocks<'s, 'r> {
    session: &'s Session<'r>,
    encoder: BlockEncoder,
    data: Drafts,
    meta: Drafts,
}

/// Those of one kind of pack.
struct Drafts {
    /// Chunks that are coded by themselves.
    whole: BlockDraft,
    /// The same of databases and disk images.
    paged: BlockDraft,
    /// Chunks that are told from bases.
    told: BlockDraft,
}

impl<'s, 'r> OpenBlocks<'s, 'r> {
    /// Nothing is open yet.
    #[must_use]
    pub fn new(session: &'s Session<'r>, encoder: BlockEncoder) -> Self {
        let drafts =
            |told| Drafts { whole: BlockDraft::default(), paged: BlockDraft::paged(), told };
        let data = drafts(BlockDraft::default());
        Self { session, encoder, data, meta: drafts(BlockDraft::with_target(TOLD_PAGES)) }
    }

    /// Adds a chunk to the block that is open for its like, and what it may be told from: a chunk
    /// that is stored whole.
    pub fn put(
        &mut self,
        kind: PackKind,
        (id, bytes): (ChunkId, &[u8]),
        base: Option<&BaseChunk>,
    ) -> Result<()> {
        let drafts = if kind == PackKind::Data { &mut self.data } else { &mut self.meta };
        // Of what is stored the class is not known any more. Most of what has this length is of
        // databases; a tensor or a file that happens to have it loses a few per cent.
        let is_paged = kind == PackKind::Data && bytes.len() == DATABASE_CHUNK;
        let draft = match base {
            Some(_) => &mut drafts.told,
            None if is_paged => &mut drafts.paged,
            None => &mut drafts.whole,
        };
        if draft.is_full_for(bytes.len()) {
            self.session.write_block(kind, &draft.take(), &mut self.encoder)?;
        }
        match base {
            Some(base) => draft.push_with_base((id, bytes), (base.id, &base.bytes), base.old),
            None => draft.push(id, bytes),
        }
        Ok(())
    }

    /// Writes what is open.
    pub fn flush(&mut self) -> Result<()> {
        for (kind, drafts) in [(PackKind::Data, &mut self.data), (PackKind::Meta, &mut self.meta)] {
            for draft in [&mut drafts.whole, &mut drafts.paged, &mut drafts.told] {
                self.session.write_block(kind, &draft.take(), &mut self.encoder)?;
            }
        }
        Ok(())
    }
}
