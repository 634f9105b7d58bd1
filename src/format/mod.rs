//! Format 1: the on-disk truth, as pure functions between bytes and records.
//!
//! No files, no clock, no logging. `icecore-format(5)` states the same for readers without Rust.
//! Parsers take bytes, check and cap everything, and return [`Malformed`]; they never panic.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod config;
mod event;
mod extents;
pub mod frame;
mod gc;
mod ids;
pub mod index;
mod key;
mod ledger;
pub mod limits;
mod malformed;
mod marks;
mod object;
pub mod pack;
pub mod parity;
mod settings;
mod snapshot;
mod tree;
pub(crate) mod wire;

pub use config::{Chunking, Config, StoredConfig};
pub use event::{
    COMPONENT, DrillCheck, DrillPhase, DrillResult, Drilled, DrilledComponent, Ran, Replicated,
    ReplicatedSnapshot, SAMPLE,
};
pub use extents::{Extent, ExtentPage, cut_after as extent_cut_after};
pub use frame::{FrameKind, Seal};
pub use gc::{Generation, NamedPack};
pub use ids::{ChunkId, KeyId, PackId, PinId, RecordId, RepositoryId, SegmentId, SnapshotId};
pub use key::{Beat, Derivation, KeySlot};
pub use ledger::{LedgerEvent, LedgerLink, LedgerRecord, Verified, pack_prefix};
pub use malformed::Malformed;
pub use marks::{Forgotten, Pin, Tagging};
pub use object::{
    ChunkEntry, Contents, Folder, OBJECT_HEADER_LEN, ObjectHeader, ObjectKey, PackKind, checksum16,
};
pub use settings::Settings;
pub use snapshot::{Added, Capture, Commit, Origin, Snapshot, Source, Trouble};
pub use tree::{
    Body, ChunkClass, Content, File, HardLink, Kind, Leaf, Node, Owner, PageRef, Time, Totals,
    TreePage, Xattr, cut_after as tree_cut_after,
};
