//! icecore: backups that you can `cd` into.
//!
//! A repository is a set of immutable objects in a folder: packs of compressed, sealed blocks,
//! index segments that say where each chunk is, and one small object per snapshot. Every snapshot
//! can be mounted as a read-only directory, so a restore is `cp -a`, a comparison is `diff -r`,
//! and whatever reads files can check a backup.
//!
//! # Layers
//! Each folder knows only those above it in this table; `tests/layering.rs` holds that.
//!
//! | layer | folder | what it is | what it must not know |
//! |---|---|---|---|
//! | L0 | [`format`](mod@format) | the stored bytes as pure functions | files, clock, keys |
//! | leaves | [`units`], [`clock`], [`progress`], [`fsutil`], `sync` | text of sizes and times; the wall clock; who watches; durable writes; locking | the rest |
//! | L1 | [`storage`] | where objects live: put, get, list | what they mean |
//! | L1 | [`codec`] | cut, compress, seal, derive keys | where bytes go |
//! | L2 | [`repo`] | objects together: index, chunks, trees, sessions, keys | files of the machine, FUSE |
//! | L3 | [`localfs`] | source and target file systems, by descriptor | repositories |
//! | L3 | [`vfs`] | snapshots as a tree with inode numbers | the kernel's types |
//! | L3 | [`strategy`] | which snapshots stay, and why: facts, rules and the time in, verdicts out | repositories, the clock |
//! | L4 | [`ops`] | the verbs: options in, report out | arguments, terminals |
//! | L5 | [`fuse`], [`report`], [`cli`] | the kernel, words and JSON, the command line | each other, but that `cli` calls all |
//!
//! # Walks
//! **ingest**: `cli/ingest` → [`ops::ingest`]: a walker goes through the sources by descriptor
//! ([`localfs`]), a comparer holds what it meets against the parent snapshot, readers cut files
//! that changed into chunks as their class says ([`codec::classes`]) and claim those that are new
//! ([`repo::Session::claim`]), coders compress blocks into packs, told from older chunks where that
//! is smaller ([`codec::block`], [`repo::Session::write_block`]), an assembler writes tree pages
//! ([`repo::DirectoryWriter`]), and [`repo::Session::commit`] creates the snapshot.
//!
//! **read**: kernel → [`fuse`] → [`vfs`] → [`repo::Repository::read_at`] → the chunk's block from
//! the cache, else index → pack → storage → open, decode, compare with the chunk's id. Who uses the
//! blocks of a pack one after the other finds the next ones decoded ([`repo::NextBlocks`]), and who
//! reads the small files of a directory finds the others in the kernel's page cache.
//!
//! **forget**: `cli/forget` → [`ops::forget`]: [`strategy::retention`] judges what
//! [`repo::Repository::snapshots`] lists, each verdict with its reasons, and
//! [`repo::Repository::forget`] creates a mark beside each snapshot that goes; nothing is deleted.
//!
//! **heal**: where a block of a pack turns out wrong, the pack is rebuilt from `parity/` in memory
//! (`repo/heal`, [`codec::parity`]), compared with its id, and written anew where that is possible;
//! [`ops::repair::packs`] does the rest: takes packs from a replica, or empties what nobody has.
//!
//! **verify**: `cli/verify` → [`ops::verify`]: every object on its own, then every tree; what was
//! read goes into the ledger ([`repo::Repository::append_ledger`]), from which the next run takes
//! what waits longest.
//!
//! **repair**: `cli/repair` → [`ops::repair`]: a plan that changes nothing, then its steps, each of
//! them durable before the next one removes anything.
//!
//! # Invariants
//! - An object is written once, create-only, durable before another object names it; creating
//!   `snapshots/<S>` is the commit. Whatever stops a writer, what was committed stays readable.
//! - Bytes from storage are hostile until checked: lengths are capped before they are allocated,
//!   and no byte of content leaves [`repo`] before it was compared with its chunk's id.
//! - Nothing is loaded on opening: the index is searched in mapped cache files.
//! - No lock is held over I/O, except the index's for those who reload it; who wants a block that
//!   another thread decodes waits for that block only.
//! - A damaged pack is replaced only by bytes whose BLAKE3 is its name: the one exception to
//!   "written once", in which all who do it write the same.
//! - Damage is an error that names the object, on the mount `EIO`; never a panic, never other bytes.
//!
//! # Decisions that differ from the first design
//! - *Holes are extents* (an id of zeroes with a length) instead of a list of their own: a file
//!   with a million holes pages like any other, and one binary search finds hole or chunk.
//! - *The nonce of a block is its offset in the pack*; the index then needs no block number.
//! - *Salts of packs and segments have 16 bytes*, and the repository's id takes the other half of
//!   the field, so that a foreign object is named as such without a key.
//! - *Access times are stored only on request*: they differ at each ingest, and every directory
//!   page with them.
//! - *A file with more than 4 GiB of holes has no whole-file hash*: hashing the zeroes of a
//!   terabyte takes three minutes at 6 GB/s. Its chunks are verified like all others.
//! - *Disk images are of class database*: their file systems change pages in place too.
//! - *Pages have ids of their own kind*: a file that holds a page's bytes would else make that page
//!   live in a data pack, which may go cold.
//! - *Deltas also come as zstd frames that refer to the base* (operation "prefix"): XOR of what was
//!   replaced with what replaces it codes worse than the new bytes, and text moves. Pages of trees
//!   are told from those that they replace: 500,000 small files of which 2,500 changed cost 6.5 MB
//!   instead of 41 MB.
//! - *What may change later lies in `settings/`*, numbered records of which the last holds; the
//!   config never changes. *Parity has shards of 16 KiB* in large packs: 103 of 2048 may go bad at
//!   5 %, wherever they lie, and the checksums of all take 0.2 %.
//! - *A base may also be the file before a new one* of the same extension and about the same size:
//!   the checkpoint or dump before this one.
//! - *A thread of the mount polls the device for 100 µs after an answer*, one at a time: waking one
//!   costs five times what an answer does. `cp -a` of 105,000 files takes 13.8 s instead of 20.6.
//! - *Tags and protection of a snapshot are records beside it* (`tags/<S>/<n>`, the highest number
//!   holds): a snapshot that is written anew would get another id, and mounts and parents lose it.
//! - *The ledger's chain may split and join*: a record names all that no other named yet, so writers
//!   that append at one time need no lock. It names packs by 8 bytes of their ids, not by ranges of
//!   ids: a range would claim packs that came later.
//! - *Where index and footer of a plain pack disagree, the pack's name decides*, by reading it: such
//!   a footer has no checksum of its own, and a flipped bit in a chunk's id would be believed.
//! - *Reads of up to 32 KiB from files of a MiB and more decode a block up to their chunk only*, and
//!   all of it when it is met again: 4 KiB at random from a cold disk image take a fifth less.
//! - *A MiB of which any page was cached before an ingest stays cached*, all else that it reads of
//!   files over 1 MiB is dropped; `localfs/pagecache` says how that is told.

pub mod cli;
pub mod clock;
pub mod codec;
pub mod format;
pub mod fsutil;
pub mod fuse;
pub mod localfs;
pub mod ops;
pub mod progress;
pub mod repo;
pub mod report;
pub mod storage;
pub mod strategy;
mod sync;
pub mod units;
pub mod vfs;
