//! One opened segment.

use std::sync::atomic::AtomicBool;

use memmap2::Mmap;

use crate::format::index::{Place, Segment};
use crate::format::{ChunkId, Malformed, ObjectKey, SegmentId};
use crate::repo::error::{InObject, Result};

use super::cache::SUM_LEN;

/// A segment's body.
#[derive(Debug)]
pub(super) enum Body {
    /// A cache file: the body and its BLAKE3; its memory is the kernel's.
    Mapped(Mmap),
    /// What was fetched, whose hash is the segment's name.
    Owned(Vec<u8>),
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map.split_last_chunk::<SUM_LEN>().map_or(&[], |(body, _)| body),
            Self::Owned(bytes) => bytes,
        }
    }
}

/// One opened segment.
#[derive(Debug)]
pub(crate) struct OpenSegment {
    pub(super) id: SegmentId,
    pub(super) segment: Segment<Body>,
    /// From the cache, so that a fresh copy may be better.
    pub(super) mapped: bool,
    /// Whether that copy was asked for.
    pub(super) mended: AtomicBool,
}

impl OpenSegment {
    pub(super) fn new(id: SegmentId, body: Body) -> Result<Self, Malformed> {
        let mapped = matches!(body, Body::Mapped(_));
        Ok(Self { id, segment: Segment::open(body)?, mapped, mended: AtomicBool::new(false) })
    }

    /// What errors call it.
    pub(crate) const fn object(&self) -> ObjectKey {
        ObjectKey::Segment(self.id)
    }

    /// Every chunk with its place, by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Result<(ChunkId, Place)>> + '_ {
        self.segment.iter().map(|item| item.in_object(&self.object()))
    }
}
