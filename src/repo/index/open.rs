//! One opened segment.

use std::sync::atomic::AtomicBool;

use memmap2::{Advice, Mmap};

use crate::format::index::{Place, Segment};
use crate::format::{ChunkId, Malformed, ObjectKey, SegmentId};
use crate::repo::error::{InObject, Result};

use super::cache::{SUM_LEN, is_whole};

/// Mapped segments up to this size are read with the kernel's read-ahead once they are open: a few
/// look-ups bring all of them into memory. Of larger ones a look-up reads the pages that it needs.
/// The header of either is read alone: with a read-ahead of 4 MiB, nine segments took 75 ms to open
/// from disk.
const READ_AHEAD_MAX: usize = 64 << 20;

/// A segment's body.
#[derive(Debug)]
pub(crate) enum Body {
    /// A file of the cache, or one without a name: the body and its BLAKE3; its memory is the
    /// kernel's.
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

impl Body {
    /// Tells the kernel how it will be read; it is speed only.
    fn expect(&self, advice: Advice) {
        if let Self::Mapped(map) = self
            && let Err(err) = map.advise(advice)
        {
            tracing::debug!("madvise of an index segment: {err}");
        }
    }
}

/// One opened segment.
#[derive(Debug)]
pub(crate) struct OpenSegment {
    pub(super) id: SegmentId,
    pub(crate) segment: Segment<Body>,
    /// From the cache, so that a fresh copy may be better.
    pub(super) mapped: bool,
    /// Whether that copy was asked for.
    pub(super) mended: AtomicBool,
    /// Whether it was found not to be whole, so that no merge asks again.
    pub(super) unfit: AtomicBool,
}

impl OpenSegment {
    pub(super) fn new(id: SegmentId, body: Body) -> Result<Self, Malformed> {
        let mapped = matches!(body, Body::Mapped(_));
        let (mended, unfit) = (AtomicBool::new(false), AtomicBool::new(false));
        body.expect(Advice::Random);
        let open = Self { id, segment: Segment::open(body)?, mapped, mended, unfit };
        open.expect_lookups();
        Ok(open)
    }

    fn expect_lookups(&self) {
        let body = self.segment.body();
        let large = body.as_ref().len() > READ_AHEAD_MAX;
        body.expect(if large { Advice::Random } else { Advice::Normal });
    }

    /// Reads all of it: whether its bytes are what was fetched, and what they should be.
    pub(super) fn check_whole(&self) -> Result<(), Malformed> {
        self.segment.body().expect(Advice::Sequential);
        if let Body::Mapped(map) = self.segment.body()
            && !is_whole(map)
        {
            return Err(Malformed::at(0, "the cached copy does not match its checksum"));
        }
        self.segment.check()
    }

    /// What errors call it.
    pub(crate) const fn object(&self) -> ObjectKey {
        ObjectKey::Segment(self.id)
    }

    /// Every chunk with its place, by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Result<(ChunkId, Place)>> + '_ {
        self.segment.body().expect(Advice::Sequential);
        self.segment.iter().map(|item| item.in_object(&self.object()))
    }
}
