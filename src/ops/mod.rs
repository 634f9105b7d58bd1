//! The verbs: each takes a repository and options, tells progress, and returns a report.
//!
//! Nothing here prints, reads arguments or knows FUSE. Threads are scoped to a verb and their
//! queues are bounded. A report is plain data; `report/` makes text and JSON of it.

pub mod capture;
pub mod cat;
pub mod coverage;
pub mod diff;
pub mod drill;
mod error;
pub mod evidence;
pub mod find;
pub mod forget;
pub mod ingest;
pub mod ls;
mod pages;
pub mod parity;
pub mod path;
pub mod prune;
pub mod repair;
pub mod replicate;
pub mod restore;
pub mod stats;
pub mod tag;
mod threads;
pub mod verify;

pub use error::{OpError, Result};
