//! The mount: the one folder that knows FUSE and names fuser.
//!
//! [`mount`] shows a repository and returns when it can be used; `adapter` translates between the
//! kernel and [`crate::vfs`]; `live` sees snapshots come and go; [`umount`] takes off what is
//! mounted, from any process; [`daemon`] starts the process that serves in the background;
//! [`users`] tells who holds a mount. Nothing here knows snapshots or storage.
//!
//! What must stay true: never unmounted by itself on a fault; never mounted where reading the
//! repository would go through the mount.

mod adapter;
mod awake;
mod connection;
mod convert;
pub mod daemon;
mod error;
mod live;
mod mount;
mod push;
mod table;
mod turns;
mod umount;
mod users;
mod walks;

pub use error::{FuseError, Result};
pub use mount::{MountOptions, Mounted, Prepared, THREADS_DEFAULT, Unmounter, mount, prepare};
pub use table::{RepositoryMount, mounts_of};
pub use umount::{Readers, umount, umount_within};
pub use users::{Use, User, Users, users};
