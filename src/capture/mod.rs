//! How live stores are captured so that what is stored can be opened: SQLite through its backup
//! interface, servers in their own words, programs through their output.
//!
//! Plain copies of live stores were corrupt when measured, some of them without any error: 36 of 36
//! copies of a SQLite database under load, and a PostgreSQL data directory that started and had lost
//! rows. What must stay true here: a store is never changed by being captured, and what was switched
//! off for a capture is switched on again whatever happens (guards, not calls at the end; and notes
//! of it, for who is killed).
//!
//! The layer knows stores and files, and nothing of repositories: what is walked, read and stored is
//! `ops/capture` and `ops/ingest`.

pub mod feast;
pub mod lance;
mod message;
pub mod postgres;
mod program;
pub mod redis;
pub mod scratch;
pub mod sqlite;
pub mod undo;

pub use program::{Ended, Pipe, Program, Running, started};
