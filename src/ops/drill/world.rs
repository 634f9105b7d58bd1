//! The world in which services of a drill run: the machine's files, none of which can be changed,
//! with what was restored at its original paths, writable.
//!
//! The root is a file system in memory that shows each entry of the machine's root read-only.
//! `/tmp`, `/run`, `/var/tmp` and `/dev/shm` are new and empty, and where a server of this machine
//! listens on a socket elsewhere, `/dev/null` stands: nothing that runs is reached through files.
//! Block devices are not hidden: a service that runs as root is trusted as far as root is.
//!
//! A path that this machine does not have gets its place in a layer over the nearest folder that it
//! has, or in the root. Mounts below such a folder are not seen in the drill.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::ops::{OpError, Result};
use crate::strategy::file::{Mode, Network};

use super::namespace::{
    bind, detach, failed, make_read_only, mount_memory, mount_proc, raise_loopback,
};
use super::order::{Order, Part};
use super::overlay::mount_over;

/// Where the machine's own root is while the world is made.
const OLD: &str = "/.icecore-old";
/// Output of services and what is kept of checks; only root looks into it.
pub(super) const OWN: &str = "/.icecore-drill";

/// Entries of the root that are new and empty, and their modes.
const FRESH: [(&str, u32); 3] = [("tmp", 0o1777), ("run", 0o755), ("proc", 0o555)];

/// Makes the world and goes into it.
pub(super) fn build(order: &Order) -> Result<()> {
    if order.drill.network == Network::Loopback {
        raise_loopback()?;
    }
    let folder = order.folder.as_path();
    let root = folder.join("root");
    make_root(&root)?;
    let old = root.join(OLD.trim_start_matches('/'));
    make_dir(&old, 0o700)?;
    rustix::process::pivot_root(&root, &old).map_err(|err| failed("change the root", err))?;
    std::env::set_current_dir("/").map_err(|err| OpError::io("change to /", err))?;
    make_dir(Path::new(OWN), 0o700)?;
    hide(order);
    let mut layers = Layers { base: inside(&base(order)), count: 0 };
    for folder in &order.drill.writable {
        layers.make_writable(Path::new(folder))?;
    }
    for (number, part) in order.parts.iter().enumerate() {
        match order.drill.mode {
            Mode::Instant => layers.show(part, &inside(&lower(order, number)), order)?,
            Mode::Copy => layers.show_copy(part, &inside(&copy(order, number)), order)?,
        }
    }
    detach(Path::new(OLD))?;
    fs::remove_dir(OLD).map_err(|err| OpError::io("remove the old root", err))
}

/// Where writable layers are kept.
fn base(order: &Order) -> PathBuf {
    order.scratch.as_ref().unwrap_or(&order.folder).join("layers")
}

/// Where a part of the mounted snapshot is shown, or the folder that holds it.
pub(super) fn lower(order: &Order, number: usize) -> PathBuf {
    order.folder.join("lower").join(number.to_string())
}

/// Where a part is copied to.
pub(super) fn copy(order: &Order, number: usize) -> PathBuf {
    order.scratch.as_ref().unwrap_or(&order.folder).join("copy").join(number.to_string())
}

/// A path of the machine as it is called while the world is made.
fn inside(path: &Path) -> PathBuf {
    Path::new(OLD).join(path.strip_prefix("/").unwrap_or(path))
}

/// A root that shows what the machine's has.
fn make_root(root: &Path) -> Result<()> {
    let reading = |err| OpError::io("read /", err);
    make_dir(root, 0o755)?;
    mount_memory(root, "755")?;
    for entry in fs::read_dir("/").map_err(reading)? {
        let entry = entry.map_err(reading)?;
        let (from, name) = (entry.path(), entry.file_name());
        let at = root.join(&name);
        let kind = entry.file_type().map_err(reading)?;
        let is_fresh = FRESH.iter().any(|(fresh, _)| name == *fresh);
        if is_fresh || from == Path::new(OLD) {
            continue;
        }
        if kind.is_symlink() {
            let target = fs::read_link(&from).map_err(reading)?;
            symlink(target, &at)
                .map_err(|err| OpError::io(format!("make {}", at.display()), err))?;
            continue;
        }
        if kind.is_dir() {
            make_dir(&at, 0o755)?;
        } else {
            File::create(&at).map_err(|err| OpError::io(format!("make {}", at.display()), err))?;
        }
        bind(&from, &at)?;
        make_read_only(&at)?;
    }
    for (name, mode) in FRESH {
        make_dir(&root.join(name), mode)?;
    }
    mount_proc(&root.join("proc"))
}

/// Puts nothing in the place of what reaches processes outside.
fn hide(order: &Order) {
    for folder in ["/var/tmp", "/dev/shm"] {
        // Where there is none, nothing is to be hidden.
        if Path::new(folder).is_dir()
            && let Err(err) = mount_memory(Path::new(folder), "1777")
        {
            tracing::warn!("{err}");
        }
    }
    for socket in order.sockets.iter().filter(|path| path.exists()) {
        if let Err(err) = bind(Path::new("/dev/null"), socket) {
            tracing::warn!("{err}");
        }
    }
}

/// Makes writable layers, each in a folder of its own.
struct Layers {
    base: PathBuf,
    count: usize,
}

impl Layers {
    fn next(&mut self) -> PathBuf {
        self.count += 1;
        self.base.join(self.count.to_string())
    }

    /// Puts a layer over a folder of the world, which is made where it is missing.
    fn make_writable(&mut self, folder: &Path) -> Result<()> {
        let at = self.place(folder)?;
        mount_over(&at, &self.next(), &at)
    }

    fn show(&mut self, part: &Part, lower: &Path, order: &Order) -> Result<()> {
        if part.is_directory {
            let at = self.place(Path::new(&part.at))?;
            return mount_over(lower, &self.next(), &at);
        }
        // `lower` is the folder that holds the file: one layer over that one, and the file of it.
        let merged = self.next();
        fs::create_dir_all(&merged).map_err(|err| OpError::io("make a folder", err))?;
        mount_over(lower, &self.next(), &merged)?;
        let file = merged.join(Path::new(&part.path).file_name().unwrap_or_default());
        self.show_file(part, &file, order)
    }

    fn show_copy(&mut self, part: &Part, copy: &Path, order: &Order) -> Result<()> {
        if part.is_directory {
            let at = self.place(Path::new(&part.at))?;
            return bind(copy, &at);
        }
        self.show_file(part, copy, order)
    }

    /// Shows one file at its path. What a database left beside it on this machine is no part of
    /// what was restored, and would be read with it.
    fn show_file(&mut self, part: &Part, file: &Path, order: &Order) -> Result<()> {
        let at = Path::new(&part.at);
        let (Some(parent), Some(name)) = (at.parent(), at.file_name()) else {
            return Err(OpError::Input(format!("{} is no path of a file", at.display())));
        };
        let parent = self.place(parent)?;
        if !is_writable(&parent) {
            mount_over(&parent, &self.next(), &parent)?;
        }
        for tail in ["-wal", "-shm", "-journal"] {
            let mut beside = name.to_owned();
            beside.push(tail);
            let beside = parent.join(beside);
            if !order.parts.iter().any(|other| Path::new(&other.at) == beside) {
                remove(&beside)?;
            }
        }
        let at = parent.join(name);
        if at.is_dir() {
            return Err(OpError::Input(format!("{} is a folder on this machine", at.display())));
        }
        if fs::symlink_metadata(&at).is_err() {
            File::create(&at).map_err(|err| OpError::io(format!("make {}", at.display()), err))?;
        }
        bind(file, &at)
    }

    /// A folder as it is called without links; made where it is missing.
    fn place(&mut self, folder: &Path) -> Result<PathBuf> {
        let mut missing: Vec<&OsStr> = Vec::new();
        let mut there = folder;
        let real = loop {
            match there.canonicalize() {
                Ok(real) => break real,
                Err(err) if err.kind() == io::ErrorKind::NotFound => {}
                Err(err) => return Err(OpError::io(format!("look at {}", there.display()), err)),
            }
            let (Some(parent), Some(name)) = (there.parent(), there.file_name()) else {
                return Err(OpError::Input(format!("{} is no path", folder.display())));
            };
            missing.push(name);
            there = parent;
        };
        if missing.is_empty() {
            return match real.is_dir() {
                true => Ok(real),
                false => Err(OpError::Input(format!("{} is no folder here", real.display()))),
            };
        }
        if !is_writable(&real) {
            mount_over(&real, &self.next(), &real)?;
        }
        let whole = missing.iter().rev().fold(real, |path, name| path.join(name));
        fs::create_dir_all(&whole)
            .map_err(|err| OpError::io(format!("make {}", whole.display()), err))?;
        Ok(whole)
    }
}

/// Whether entries can be made: not on what the machine has.
fn is_writable(folder: &Path) -> bool {
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => {
            Err(OpError::io(format!("hide {}", path.display()), err))
        }
        _ => Ok(()),
    }
}

fn make_dir(path: &Path, mode: u32) -> Result<()> {
    fs::create_dir(path)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
        .map_err(|err| OpError::io(format!("make {}", path.display()), err))
}
