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
//! | leaves | [`units`], [`clock`], [`progress`], [`fsutil`], `sync`, `latency` | text of sizes and times; the wall clock; who watches; durable writes; locking; processors that wake at once | the rest |
//! | L1 | [`storage`] | where objects live: put, get, list | what they mean |
//! | L1 | [`codec`] | cut, compress, seal, derive keys | where bytes go |
//! | L2 | [`repo`] | objects together: index, chunks, trees, sessions, keys | files of the machine, FUSE |
//! | L3 | [`localfs`] | source and target file systems, by descriptor | repositories |
//! | L3 | [`capture`] | live stores as consistent files: SQLite, PostgreSQL, Redis, programs | repositories |
//! | L3 | [`vfs`] | snapshots as a tree with inode numbers | the kernel's types |
//! | L3 | [`strategy`] | which snapshots stay, what is due, what complies, and why: facts, rules and the time in, verdicts out | repositories, the clock |
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
//! **capture**: [`ops::capture`] turns a source of the strategy into stages of one ingest: between
//! them the drivers of [`capture`] bring servers into backup mode and out of it; each stage yields a
//! tree, and the trees are merged by path (`ops/ingest/graft`).
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
//! **run**: `cli/run` → [`ops::evidence`] reads what each repository of the strategy can prove →
//! [`strategy::due`] says which parts are due → each is carried out by its own verb, its outcome goes
//! into a ledger, and no part stops another; what is due and must not be done, as to forget beside
//! known damage, is held, which is a failure → [`strategy::comply`] judges what is known then →
//! [`strategy::news`] says who was not told yet of what. `cli/status` and `cli/report` ([`report::overview`]) take the same facts.
//!
//! **heal**: where a block of a pack turns out wrong, the pack is rebuilt from `parity/` in memory
//! (`repo/heal`, [`codec::parity`]), compared with its id, and written anew where that is possible;
//! [`ops::repair::packs`] does the rest: takes packs or single chunks from a replica, or empties
//! what nobody has.
//!
//! **verify**: `cli/verify` → [`ops::verify`]: every object on its own, then every tree; what was
//! read goes into the ledger ([`repo::Repository::append_ledger`]), from which the next run takes
//! what waits longest.
//!
//! **repair**: `cli/repair` → [`ops::repair`]: a plan that changes nothing, then its steps, each of
//! them durable before the next one removes anything.
//!
//! **replicate**: `cli/replicate` → [`ops::replicate`]: what is missing there is chosen by origin; per
//! snapshot a walk beside the last one that is on both sides tells events, blocks of new chunks move
//! with their coding ([`repo::ChunkTransfer`]), pages are written as an ingest writes them, all that
//! is new is looked for, and a session there commits the copy.
//!
//! **drill**: `cli/drill` → [`ops::drill`]: the plan finds a snapshot for each component; processes
//! of this program, one in another, go into namespaces, mount or restore, start services and check;
//! [`ops::drill::judge()`] says what that shows, and the ledger keeps it. The first of them outlives
//! all others, whoever is killed, and clears away. A manifest is checked
//! beside what services see, not in it: through a layer of its own over the same mount, after the
//! services were measured on cold caches, so that they may write. Each check is made once more
//! where it must fail; for a command that is a world without services and with empty components.
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
//! - *Copies are made tree by tree, not pack by pack*: repositories differ in keys and in what they
//!   keep. Ids that differ are told from bytes; those of what did not change from its place in the
//!   copy before, so that none of it is read. A repository that is made for copies gets the same
//!   master key: with the same ids one repairs the other.
//! - *Where index and footer of a plain pack disagree, the pack's name decides*, by reading it: such
//!   a footer has no checksum of its own, and a flipped bit in a chunk's id would be believed.
//! - *Reads of up to 32 KiB from files of a MiB and more decode a block up to their chunk only*, and
//!   all of it when it is met again: 4 KiB at random from a cold disk image take a fifth less.
//! - *A repair that deletes damaged packs is a generation of prune*: another one that heals the same
//!   pack is waited for or sees it, so that no whole pack is ever deleted.
//! - *The grace of a prune is 18 hours, not 24*: with the hour for clocks that differ, a timer that
//!   prunes once a day would else free something every second day. It is for readers of forgotten
//!   snapshots only; those that must hold longer pin.
//! - *A pin is over by the wall clock*, an hour for clocks that differ allowed: it holds forgotten
//!   snapshots only, and a prune that would watch it for the time-out would never end.
//! - *What a successor names as lost fails no verification*: it is told, and no news.
//! - *What somebody was told is a record of the ledger too*: who is told of a failure once, and not at
//!   each run, must else be remembered by a machine, and one that is added later heard nothing.
//! - *Of a gap between two snapshots `keep.within` counts a part only* ([`strategy::retention::Rules`]):
//!   nobody can tell a clock that leaps ahead from a machine that was off, and to wait loses nothing.
//! - *A MiB of which any page was cached before an ingest stays cached*, all else that it reads of
//!   files over 1 MiB is dropped; `localfs/pagecache` says how that is told.

pub mod capture;
pub mod cli;
pub mod clock;
pub mod codec;
pub mod format;
pub mod fsutil;
pub mod fuse;
mod latency;
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
