//! Decisions as pure functions of facts, rules and the time: what stays, and why.
//!
//! Nothing here reads a repository, a file or the clock, so every decision can be tried on made-up
//! facts and gives the same answer on every machine.

pub mod retention;
