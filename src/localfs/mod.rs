//! The source and target file systems: metadata and content in, metadata and content out.
//!
//! Everything is relative to an opened directory ([`Dir`], [`TargetDir`]) and one name at a time,
//! so trees deeper than `PATH_MAX` are ordinary and a component swapped for a link cannot lead out
//! of the tree. Names, link targets and attributes are raw bytes. Entries are inspected without
//! being opened; only what is a regular file or directory is opened, and never so that it blocks.
//!
//! In: [`Dir::names`] lists, [`inspect`] and [`read_xattrs`] give the metadata, [`Owners`] the
//! names of its owner, [`SourceFile`] the content without holes, [`GuardedFile`] the same
//! without filling the page cache. Out: [`TargetDir`] creates,
//! [`TargetFile`] is written to, and then [`apply`] makes the metadata equal to a node's.
//!
//! The layer knows nodes (`format`) and nothing of repositories, and it decides nothing: what to
//! walk, replace, retry or report is the caller's. `/proc` must be mounted (see `proc_path`).

mod apply;
mod dir;
mod error;
mod inspect;
mod names;
mod owners;
mod pagecache;
mod remove;
mod restore;
mod source;
#[cfg(test)]
mod testing;
mod xattrs;

pub use apply::{ApplyOptions, apply, apply_fd, differs};
pub use dir::Dir;
pub use error::LocalError;
pub use inspect::{Found, inspect, inspect_fd, read_link};
pub use names::{Entry, Names};
pub use owners::Owners;
pub use pagecache::{GuardedFile, RangeReader};
pub use restore::{TargetDir, TargetFile};
pub use source::{DataRanges, SourceFile};
pub use xattrs::{read_xattrs, read_xattrs_fd};
