//! Every cap and size of format 1, in one place.
//!
//! A length read from storage is compared with its cap here *before* anything of that size is
//! allocated. All sizes are in bytes unless the name says otherwise.

/// The format version this build writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 1;

/// Longest file name; Linux' `NAME_MAX`.
pub const NAME_MAX: usize = 255;
/// Longest symbolic link target; Linux' `PATH_MAX` without its NUL.
pub const LINK_TARGET_MAX: usize = 4095;
/// Longest extended attribute name; Linux' `XATTR_NAME_MAX`.
pub const XATTR_NAME_MAX: usize = 255;
/// Longest extended attribute value; Linux' `XATTR_SIZE_MAX`.
pub const XATTR_VALUE_MAX: usize = 64 << 10;
/// Most extended attribute bytes (names and values) that one node may carry.
pub const XATTR_TOTAL_MAX: usize = 8 << 20;

/// Content of at most this many bytes is kept in the node itself.
pub const INLINE_MAX: usize = 512;
/// Longest chunk of file content.
pub const CHUNK_MAX: usize = 16 << 20;
/// Largest tree or extent page, before compression.
pub const PAGE_MAX: usize = 32 << 20;
/// A tree page is closed once it holds this many plain bytes.
pub const PAGE_TARGET_MAX: usize = 1 << 20;
/// Most entries of one tree page.
pub const PAGE_ENTRIES_MAX: usize = 1024;
/// Most levels of pages above a directory's leaves, or above a file's chunks.
pub const PAGE_LEVELS_MAX: u8 = 8;
/// Most extents in a node or in one extent page.
pub const EXTENTS_MAX: usize = 4096;

/// A block is closed once it holds this many plain bytes.
pub const BLOCK_TARGET: usize = 512 << 10;
/// Longest plain block: one page at its cap.
pub const BLOCK_PLAIN_MAX: usize = PAGE_MAX;
/// Longest stored block: incompressible content with its header and seal.
pub const BLOCK_STORED_MAX: usize = BLOCK_PLAIN_MAX + 4096;
/// A pack is closed once it holds this many stored bytes.
pub const PACK_TARGET: usize = 32 << 20;
/// Largest pack: one block over the target, and the footer.
pub const PACK_MAX: u64 = 256 << 20;
/// Most blocks of one pack.
pub const PACK_BLOCKS_MAX: u32 = 1 << 20;
/// Most chunks of one pack.
pub const PACK_CHUNKS_MAX: u32 = 1 << 22;

/// Longest shard of parity.
pub const PARITY_SHARD_MAX: u64 = 1 << 20;
/// Most original shards of a pack, and most recovery shards.
pub const PARITY_SHARDS_MAX: u32 = 1 << 15;
/// Largest parity object: as many recovery shards as originals, and two lists of checksums.
pub const PARITY_MAX: u64 = PACK_MAX + (4 << 20);
/// Largest record of settings.
pub const SETTINGS_MAX: usize = 64 << 10;
/// Largest share of parity that may be set, in thousandths of the packs.
pub const PARITY_PERMILLE_MAX: u16 = 1000;

/// Most records of one index segment.
pub const SEGMENT_RECORDS_MAX: u64 = u32::MAX as u64;
/// Most packs that one index segment refers to.
pub const SEGMENT_PACKS_MAX: u32 = 1 << 24;
/// Most segments that one segment may replace.
pub const SEGMENT_REPLACES_MAX: u32 = 1 << 20;
/// Plain bytes sealed together in a stored index segment.
pub const SEGMENT_RECORD: usize = 1 << 20;

/// Largest config object.
pub const CONFIG_MAX: usize = 64 << 10;
/// Largest key slot.
pub const KEY_SLOT_MAX: usize = 64 << 10;
/// Largest snapshot object.
pub const SNAPSHOT_MAX: usize = 16 << 20;
/// Largest session beat.
pub const BEAT_MAX: usize = 64 << 10;
/// Largest mark beside a snapshot, and largest beat of a pin.
pub const MARK_MAX: usize = 1 << 20;
/// Most tags of a snapshot.
pub const TAGS_MAX: usize = 1000;
/// Most packs that one generation of prune deletes: 32 TiB of them.
pub const DOOMED_PACKS_MAX: usize = 1 << 20;
/// Most snapshots that one generation of prune deletes.
pub const DOOMED_SNAPSHOTS_MAX: usize = 1 << 20;
/// Largest record of a generation: all packs and snapshots that it may name.
pub const GENERATION_MAX: usize = 64 << 20;
/// Largest record of the ledger.
pub const LEDGER_RECORD_MAX: usize = 16 << 20;
/// Most packs that one record of the ledger lists: 32 TiB of them, 8 bytes each.
pub const LEDGER_PACKS_MAX: usize = 1 << 20;
/// Most damaged objects that one record of the ledger names.
pub const LEDGER_DAMAGED_MAX: usize = 1000;
/// Most entries of each list of a copy's or drill's record.
pub const LEDGER_LIST_MAX: usize = 10_000;
/// Most records that one record of the ledger follows.
pub const LEDGER_PREVIOUS_MAX: usize = 64;
/// Most source troubles listed in a snapshot; the count goes on.
pub const TROUBLES_MAX: usize = 1000;

/// Most captures that a snapshot tells of.
pub const CAPTURES_MAX: usize = 1000;
/// Most facts of one capture.
pub const CAPTURE_FACTS_MAX: usize = 1000;

/// Argon2id memory cap when a slot is read, in KiB: a hostile slot may not ask for more.
pub const ARGON2_MEMORY_KIB_MAX: u32 = 1 << 20;
/// Argon2id passes cap when a slot is read.
pub const ARGON2_PASSES_MAX: u32 = 16;
/// Argon2id lanes cap when a slot is read.
pub const ARGON2_LANES_MAX: u32 = 16;
