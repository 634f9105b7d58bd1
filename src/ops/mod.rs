//! The verbs: each takes a repository and options, tells progress, and returns a report.
//!
//! Nothing here prints, reads arguments or knows FUSE. Threads are scoped to a verb and their
//! queues are bounded. A report is plain data; `report/` makes text and JSON of it.

mod error;
pub mod ingest;

pub use error::{OpError, Result};
