//! Repair: putting right what can be put right, and saying what cannot.
//!
//! What must stay true: it never makes anything worse. Each has a plan that changes nothing; what
//! replaces something is durable before that is removed; whatever a later icecore wrote is left
//! alone, and the repair refused.

pub mod index;
pub mod packs;
pub mod snapshots;
