//! icecore: backups that you can `cd` into.

pub mod clock;
pub mod codec;
pub mod format;
pub mod fsutil;
pub mod localfs;
pub mod ops;
pub mod progress;
pub mod repo;
pub mod storage;
pub mod units;
