//! Reports and records as words for people ([`text`]) and as JSON for programs ([`json`]).
//!
//! Paths and names are raw bytes. People see them with control characters escaped, so that a
//! file's name cannot repaint their terminal; programs get them whole: as raw bytes ended by NUL,
//! or in JSON as a string where they are UTF-8 and as `{"bytes_hex": "…"}` where they are not.

pub mod captures;
pub mod comply;
pub mod diff;
pub mod drill;
pub mod forget;
pub mod ingest;
pub mod json;
pub mod ledger;
pub mod overview;
pub mod parity;
pub mod prune;
pub mod repair;
pub mod replicate;
pub mod restore;
pub mod text;
pub mod verify;
