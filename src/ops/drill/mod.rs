//! Drills: a snapshot is brought back, its services run on it, and what they do is checked.
//!
//! ```text
//! icecore drill     resolves the snapshots, hears what happens, keeps time, records the evidence
//! └ sweep           outlives the others, whoever is killed; then removes the drill's folders
//!   └ guard         a mount namespace of its own; compares manifests
//!     ├ show        serves the snapshot's mount (mode instant)
//!     └ enter       goes into mount, pid, ipc and net namespaces
//!       └ first     their process 1: reaps; with it all others end
//!         └ work    makes the world, starts services, checks, controls
//!           └ …     services and commands
//! ```
//! All of them are this program, started again: namespaces are entered by processes with one
//! thread, and the kernel kills each below `sweep` when the one above it ends; `sweep` sees the end
//! of the first one by a pipe. So whatever happens to the drill, kill -9 included, its processes and
//! mounts are gone, since no mount was ever made where the machine sees it, and then its folders.
//! Only where `sweep` is killed as well these stay, until the next drill ([`Leftovers`]). The mount is served by a process of its own, since a process that is
//! killed while it waits for a mount that it serves itself never ends.
//!
//! What must stay true:
//! - Nothing in a drill can write to the machine's files, and with the network `loopback` nothing
//!   reaches what runs (`world`).
//! - What is checked is what services are shown: the same mount, the same layers (`manifest`).
//! - A drill is proven only when each check was also seen to fail (`control`), and each component
//!   seen to matter: it is compared byte by byte, or a check fails where it alone is damaged
//!   (`alone`, [`judge()`]).

mod alone;
mod checks;
mod command;
mod control;
mod copied;
mod emptied;
mod guard;
mod inside;
mod judge;
mod leftovers;
mod manifest;
mod namespace;
mod order;
mod outside;
mod overlay;
mod plan;
mod probe;
mod service;
mod sweep;
mod users;
mod world;

pub use command::{AS, INSIDE, become_command, this_program};
pub use guard::{ENTER, GUARD, READY, SHOW, begin, run as guard, shown};
pub use inside::{FIRST, WORK, enter_namespaces, first, read_order, work};
pub use judge::judge;
pub use leftovers::{Folders, Leftovers};
pub use namespace::die_with_parent;
pub use order::{Access, Event, Order, Part, Teller, now_ns};
pub use outside::{Found, Session};
pub use plan::{Plan, place, plan};
pub use sweep::{SWEEP, sweep};

/// Drops the machine's page cache, so that reads are as cold as after a disaster.
///
/// # Errors
/// Where that is not allowed: the drill is warm then.
pub fn drop_caches() -> std::io::Result<()> {
    rustix::fs::sync();
    std::fs::write("/proc/sys/vm/drop_caches", "3")
}
