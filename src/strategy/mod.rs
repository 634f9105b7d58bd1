//! Decisions as pure functions of facts, rules and the time: what is due, what stays and why, what
//! complies.
//!
//! Nothing here reads a repository, a file or the clock, so every decision can be tried on made-up
//! facts and gives the same answer on every machine.

pub mod calendar;
pub mod comply;
pub mod due;
pub mod evidence;
pub mod file;
pub mod news;
pub mod retention;
