//! Repair: making a repository whole again, never worse.
//!
//! Each repair plans first and writes nothing for it; what it removes later, it has written anew
//! before; stopped anywhere, it can be run again. A repository that holds something of a later
//! icecore is refused.

pub mod packs;
