//! icecore: backups that you can `cd` into.

pub mod format;
pub mod progress;
pub mod storage;
