//! Reading ahead: blocks are written in the order in which trees are walked and files are read, so
//! who uses the blocks of a pack one after the other will want the next ones.
//!
//! A block's first use is held against the streams of uses that were seen lately; where one goes
//! on, the blocks after it are put on a queue, from which threads of the caller's decode and check
//! them into the cache ([`Repository::read_ahead`](super::Repository::read_ahead)). Nothing is
//! queued where nobody takes from the queue, and a full queue is no reason to wait: reading ahead
//! is speed only. What cannot be read is left to the reader, who will meet it.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use crossbeam_channel::{Receiver, Sender, select_biased};
use lru::LruCache;

use crate::format::index::{PackInfo, Place};
use crate::format::pack::{BlockEntry, Footer};
use crate::format::{OBJECT_HEADER_LEN, ObjectKey, PackId};
use crate::sync::lock;

use super::blocks::{Block, Claim, Decoded, Wanted};
use super::chunks::ChunkReader;
use super::pack::footer_of;

/// Most stored bytes ahead of a reader: some MiB decoded, work for milliseconds.
const AHEAD: u32 = 2 << 20;
/// Stored bytes that are read at once.
const STEP: u32 = AHEAD / 4;
/// Uses of one stream come out of order by this many stored bytes, as several threads read parts of
/// it at once.
const DISORDER: u32 = 1 << 20;
const STREAMS_MAX: usize = 32;
const QUEUE: usize = 64;
/// Footers kept; each has up to some MiB.
const FOOTERS_MAX: NonZeroUsize = NonZeroUsize::new(4).unwrap();

/// Blocks of a pack that will be wanted: those that begin in this range of it.
#[derive(Debug, Clone)]
pub struct NextBlocks {
    pack: PackInfo,
    range: Range<u32>,
}

/// Uses of blocks of one pack, one after the other.
#[derive(Debug)]
struct Stream {
    pack: PackId,
    /// Where the block begins that comes after the furthest one used.
    next: u32,
    /// How often it went on.
    run: u32,
    /// Up to where blocks were asked for ahead.
    asked: u32,
}

/// The streams seen last, the latest at the end.
#[derive(Debug, Default)]
struct Streams(VecDeque<Stream>);

impl Streams {
    /// Notes the first use of a block, and says what to read ahead.
    fn used(&mut self, pack: PackId, block: Range<u32>) -> Option<Range<u32>> {
        let goes_on = |stream: &Stream| {
            stream.pack == pack
                && block.start <= stream.next.saturating_add(DISORDER)
                && block.start.saturating_add(DISORDER) >= stream.next
        };
        let known = self.0.iter().rposition(goes_on).and_then(|at| self.0.remove(at));
        let Some(mut stream) = known else {
            if self.0.len() >= STREAMS_MAX {
                self.0.pop_front();
            }
            self.0.push_back(Stream { pack, next: block.end, run: 0, asked: block.end });
            return None;
        };
        stream.next = stream.next.max(block.end);
        stream.run += 1;
        // Two uses next to one another happen by chance, three hardly.
        let window = if stream.run < 2 { 0 } else { (STEP << (stream.run - 2).min(2)).min(AHEAD) };
        let from = stream.asked.max(stream.next);
        let to = from.saturating_add(STEP);
        let wanted = to <= stream.next.saturating_add(window);
        if wanted {
            stream.asked = to;
        }
        self.0.push_back(stream);
        wanted.then_some(from..to)
    }
}

/// The queue, and how many take from it.
#[derive(Debug)]
struct Queue {
    sender: Sender<NextBlocks>,
    receiver: Receiver<NextBlocks>,
    users: usize,
}

/// One user's end of the queue of blocks that are likely to be read next. Threads of the user's take
/// from it and give what they get to [`Repository::read_ahead`](super::Repository::read_ahead).
#[derive(Debug)]
pub struct AheadQueue {
    ahead: Arc<Ahead>,
    blocks: Receiver<NextBlocks>,
    /// Sends nothing; its other end is dropped where this user takes no more.
    ended: Receiver<()>,
    running: Mutex<Option<Sender<()>>>,
}

impl AheadQueue {
    /// Waits for blocks; `None` after [`Self::end`].
    pub fn next(&self) -> Option<NextBlocks> {
        select_biased! {
            recv(self.ended) -> _ => None,
            recv(self.blocks) -> next => next.ok(),
        }
    }

    /// Whether [`Self::end`] was called.
    pub fn is_ended(&self) -> bool {
        lock(&self.running).is_none()
    }

    /// Gives this user's threads nothing more; other users go on.
    pub fn end(&self) {
        if lock(&self.running).take().is_some() {
            self.ahead.leave();
        }
    }
}

impl Drop for AheadQueue {
    fn drop(&mut self) {
        self.end();
    }
}

/// What is known of the order of reading.
#[derive(Debug)]
pub(crate) struct Ahead {
    queue: Mutex<Option<Queue>>,
    streams: Mutex<Streams>,
    footers: Mutex<LruCache<PackId, Arc<Footer>>>,
}

impl Ahead {
    pub(crate) fn new() -> Self {
        let footers = Mutex::new(LruCache::new(FOOTERS_MAX));
        Self { queue: Mutex::default(), streams: Mutex::default(), footers }
    }

    /// One more user of the queue.
    pub(crate) fn start(self: &Arc<Self>) -> AheadQueue {
        let mut queue = lock(&self.queue);
        let queue = queue.get_or_insert_with(|| {
            let (sender, receiver) = crossbeam_channel::bounded(QUEUE);
            Queue { sender, receiver, users: 0 }
        });
        queue.users += 1;
        let (running, ended) = crossbeam_channel::bounded(0);
        let (ahead, blocks) = (Arc::clone(self), queue.receiver.clone());
        AheadQueue { ahead, blocks, ended, running: Mutex::new(Some(running)) }
    }

    fn leave(&self) {
        let mut queue = lock(&self.queue);
        if let Some(now) = queue.as_mut() {
            now.users -= 1;
        }
        queue.take_if(|queue| queue.users == 0);
    }

    /// A block was used for the first time since it was decoded.
    pub(super) fn used(&self, place: &Place) {
        let sender = lock(&self.queue).as_ref().map(|queue| queue.sender.clone());
        let Some(sender) = sender else { return };
        let block = place.block_offset..place.block_offset.saturating_add(place.block_len);
        let next = lock(&self.streams).used(place.pack.id, block);
        if let Some(range) = next {
            let _ = sender.try_send(NextBlocks { pack: place.pack, range });
        }
    }

    fn footer(&self, chunks: &ChunkReader, pack: &PackInfo) -> Option<Arc<Footer>> {
        if let Some(footer) = lock(&self.footers).get(&pack.id) {
            return Some(Arc::clone(footer));
        }
        let footer = footer_of(&*chunks.storage, &chunks.vault, pack);
        let footer = footer.inspect_err(|err| tracing::debug!("not reading ahead: {err}")).ok()?;
        let footer = Arc::new(footer);
        lock(&self.footers).put(pack.id, Arc::clone(&footer));
        Some(footer)
    }
}

impl ChunkReader {
    /// Decodes and checks blocks that will be wanted; neighbours are read at once.
    pub(crate) fn read_ahead(&self, next: &NextBlocks) {
        let Some(footer) = self.ahead.footer(self, &next.pack) else { return };
        let mut offset = OBJECT_HEADER_LEN as u32;
        let placed = footer.blocks.iter().map(|entry| {
            let block_offset = offset;
            offset = offset.saturating_add(entry.stored_len);
            let place = Place {
                pack: next.pack,
                block_offset,
                block_len: entry.stored_len,
                chunk_offset: 0,
                chunk_len: entry.plain_len,
                base: entry.bases.first().copied(),
            };
            (place, entry)
        });
        let wanted = placed.filter(|(place, _)| next.range.contains(&place.block_offset));
        let (whole, told): (Vec<_>, Vec<_>) = wanted.partition(|(place, _)| place.base.is_none());
        let claimed = whole.into_iter().filter_map(|(place, entry)| {
            let claim = self.cache.claim(Self::key(&place))?;
            Some(Claimed { place, entry, claim })
        });
        let mut claimed: Vec<_> = claimed.collect();
        while let Some(count) = claimed.chunk_by(Claimed::is_before).next().map(<[_]>::len) {
            self.decode_ahead(claimed.drain(..count).collect());
        }
        // These wait for their bases, so nothing may be claimed meanwhile.
        for (place, entry) in told {
            if !self.cache.has(&Self::key(&place))
                && let Ok(block) = self.block(&place, Wanted::Whole)
            {
                self.check_ahead(&place, entry, &block);
            }
        }
    }

    /// Blocks that are neighbours.
    fn decode_ahead(&self, run: Vec<Claimed<'_>>) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return };
        let (first, last) = (&first.place, &last.place);
        let len = (last.block_offset - first.block_offset) as usize + last.block_len as usize;
        let pack = ObjectKey::Pack(first.pack.kind, first.pack.id);
        let stored = match self.storage.read_at(&pack, first.block_offset.into(), len) {
            Ok(stored) => stored,
            Err(err) => return tracing::debug!("not reading ahead: {err}"),
        };
        let mut rest = stored.as_slice();
        for Claimed { place, entry, claim } in run {
            let Some((block, after)) = rest.split_at_checked(place.block_len as usize) else {
                return;
            };
            rest = after;
            if let Ok(plain) = self.decode_block(&place, block.to_vec()) {
                self.check_ahead(&place, entry, &claim.fill(Decoded::Whole(plain)));
            }
        }
    }

    /// Checks the chunks of a block. One that is wrong is told to who reads it.
    fn check_ahead(&self, place: &Place, entry: &BlockEntry, block: &Arc<Block>) {
        let mut offset = 0;
        for chunk in &entry.chunks {
            let id_of = |plain: &[u8]| self.vault.id(place.pack.kind, plain);
            let _ = block.chunk(&chunk.id, offset, chunk.len, id_of);
            offset = offset.saturating_add(chunk.len);
        }
    }
}

/// A block that this thread is going to decode. It has no bases, so it waits for no other.
struct Claimed<'a> {
    place: Place,
    entry: &'a BlockEntry,
    claim: Claim<'a>,
}

impl Claimed<'_> {
    const fn is_before(&self, next: &Self) -> bool {
        self.place.block_offset + self.place.block_len == next.place.block_offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::PackKind;

    const PACK: PackId = PackId([1; 32]);
    const BLOCK: u32 = 100 << 10;

    fn block(number: u32) -> Range<u32> {
        number * BLOCK..(number + 1) * BLOCK
    }

    #[test]
    fn third_block_in_a_row_brings_those_after_it_each_once() {
        let mut streams = Streams::default();
        assert_eq!(streams.used(PACK, block(0)), None);
        assert_eq!(streams.used(PACK, block(1)), None);
        let mut end = block(2).end;
        for number in 2..30 {
            if let Some(ahead) = streams.used(PACK, block(number)) {
                assert_eq!(ahead.start, end, "block {number}");
                assert!(ahead.end <= block(number).end + AHEAD);
                end = ahead.end;
            }
        }
        assert!(end >= block(29).end + AHEAD - STEP);
        assert_eq!(streams.0.len(), 1);
    }

    #[test]
    fn a_user_that_ends_leaves_the_queue_to_the_others() {
        let ahead = Arc::new(Ahead::new());
        let place = |number: u32| Place {
            pack: PackInfo { id: PACK, kind: PackKind::Data, salt: [0; 16], stored_len: 0 },
            block_offset: number * BLOCK,
            block_len: BLOCK,
            chunk_offset: 0,
            chunk_len: 1,
            base: None,
        };
        let read = |numbers: Range<u32>| numbers.for_each(|number| ahead.used(&place(number)));
        read(0..3);
        let (one, two) = (ahead.start(), Arc::new(ahead.start()));
        assert!(one.blocks.is_empty(), "nothing was queued for nobody");
        read(10..20);
        assert!(one.next().is_some());
        one.end();
        assert!(one.is_ended() && one.next().is_none(), "what waits is left to the other");
        assert!(two.next().is_some() && !two.is_ended());
        // One that waits is woken.
        while two.blocks.try_recv().is_ok() {}
        let waits = Arc::clone(&two);
        let waits = std::thread::spawn(move || waits.next());
        two.end();
        assert!(waits.join().unwrap().is_none());
        assert!(lock(&ahead.queue).is_none());
    }

    #[test]
    fn threads_that_read_parts_of_one_stream_are_one_stream() {
        let mut streams = Streams::default();
        let uses = [0, 4, 2, 6, 1, 5, 3, 7];
        let ahead: Vec<_> = uses.iter().filter_map(|&n| streams.used(PACK, block(n))).collect();
        assert_eq!(streams.0.len(), 1);
        assert!(!ahead.is_empty() && ahead.windows(2).all(|two| two[0].end == two[1].start));
    }

    #[test]
    fn uses_here_and_there_bring_nothing_and_are_forgotten() {
        let mut streams = Streams::default();
        for number in 0..1000_u32 {
            let far = number.wrapping_mul(7919) % 997 * 40;
            let pack = PackId([(number % 50) as u8; 32]);
            assert_eq!(streams.used(pack, block(far)), None);
        }
        assert_eq!(streams.0.len(), STREAMS_MAX);
        // The end of the address space of packs is no reason to fail.
        for _ in 0..4 {
            streams.used(PACK, u32::MAX - 5..u32::MAX);
        }
    }
}
