//! The blocks that a reader has open: which new chunk goes with which others.

use crossbeam_channel::Sender;

use crate::codec::Element;
use crate::codec::block::is_noise;
use crate::codec::classes::DATABASE_CHUNK;
use crate::format::{ChunkClass, ChunkId};
use crate::repo::{BaseChunk, BlockDraft};

/// Longer chunks fill most of a block themselves.
const MIXED_MAX: usize = 128 << 10;

/// Open blocks of one reader.
pub(super) struct Drafts {
    /// Chunks that are coded by themselves.
    whole: BlockDraft,
    /// The same of databases and disk images.
    paged: BlockDraft,
    /// Short chunks that will not shrink. Beside text they would spoil its coding: of 500,000 small
    /// files, a fifth of them noise, 5 % less is stored.
    noise: BlockDraft,
    /// Chunks that are told from bases.
    told: BlockDraft,
}

impl Default for Drafts {
    fn default() -> Self {
        Self {
            whole: BlockDraft::default(),
            paged: BlockDraft::paged(),
            noise: BlockDraft::default(),
            told: BlockDraft::default(),
        }
    }
}

/// A chunk that is not stored yet.
pub(super) struct NewChunk<'c> {
    pub(super) id: ChunkId,
    pub(super) plain: &'c [u8],
    /// What numbers it holds, where its file says so.
    pub(super) element: Option<Element>,
    /// Of its file.
    pub(super) class: ChunkClass,
}

impl Drafts {
    /// Adds a new chunk, and what it may be told from; full blocks go to the coders.
    pub(super) fn add(
        &mut self,
        new: &NewChunk<'_>,
        base: Option<BaseChunk>,
        blocks: &Sender<BlockDraft>,
    ) {
        let &NewChunk { id, plain: chunk, element, class } = new;
        let draft = if base.is_some() {
            &mut self.told
        } else if class == ChunkClass::Database && chunk.len() >= DATABASE_CHUNK {
            &mut self.paged
        } else if chunk.len() < MIXED_MAX && is_noise(chunk) {
            &mut self.noise
        } else {
            &mut self.whole
        };
        if draft.is_full_for(chunk.len()) || draft.element != element {
            send(draft, blocks);
        }
        draft.element = element;
        match base {
            Some(base) => draft.push_with_base((id, chunk), (base.id, &base.bytes), base.old),
            None => draft.push(id, chunk),
        }
    }

    /// Sends what is open.
    pub(super) fn send_all(&mut self, blocks: &Sender<BlockDraft>) {
        for draft in [&mut self.whole, &mut self.paged, &mut self.noise, &mut self.told] {
            send(draft, blocks);
        }
    }
}

/// Sends an open block to the coders and leaves an empty one.
fn send(draft: &mut BlockDraft, blocks: &Sender<BlockDraft>) {
    let full = draft.take();
    if !full.is_empty() {
        // A closed queue means that the coders failed, and they have said why.
        let _ = blocks.send(full);
    }
}
