//! Removing what stands in the way of a restore, directories with all they hold.
//!
//! One descriptor is open at a time, whatever the depth: the way back up is `..`, and it must lead
//! to the directory that we came from, else someone is moving the tree and we stop. No link is
//! followed. A mounted file system is not descended into: what is mounted was never restored here.

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::dir::checked;
use super::error::{At, LocalError};
use super::{Dir, Names, TargetDir, inspect_fd};

/// A directory on the way down, to be emptied.
struct Level {
    /// Its own name in the directory above.
    name: Vec<u8>,
    /// Device and inode of the directory above.
    above: (u64, u64),
    names: Names,
    next: usize,
}

impl TargetDir {
    /// Removes the entry `name`, of any kind, with everything below it; fine where there is none.
    ///
    /// # Errors
    /// The first failure; what was removed until then is gone. `EXDEV` where something is
    /// mounted (or a btrfs subvolume lies) below.
    pub fn remove(&self, name: &[u8]) -> Result<(), LocalError> {
        checked(name).at("remove", name)?;
        if unlinked(self.dir(), name)? {
            return Ok(());
        }
        let (first, dir) = Level::enter(self.dir(), name)?;
        empty(first, dir)?;
        removed(self.dir(), name)
    }
}

/// Empties the directory `dir` of `first`, depth first.
fn empty(first: Level, mut dir: Dir) -> Result<(), LocalError> {
    let mut levels = vec![first];
    while let Some(level) = levels.last_mut() {
        if let Some(entry) = level.names.get(level.next) {
            level.next += 1;
            if !unlinked(&dir, entry.name)? {
                let (below, opened) = Level::enter(&dir, entry.name)?;
                levels.push(below);
                dir = opened;
            }
            continue;
        }
        let Some(done) = levels.pop() else { break };
        if !levels.is_empty() {
            dir = dir.parent(done.above.0, done.above.1)?;
            removed(&dir, &done.name)?;
        }
    }
    Ok(())
}

impl Level {
    fn enter(above: &Dir, name: &[u8]) -> Result<(Self, Dir), LocalError> {
        let outer = inspect_fd(above)?;
        let dir = above.open_dir(name)?;
        if inspect_fd(&dir)?.device != outer.device {
            return Err(LocalError::new("remove across a mount", name, Errno::XDEV));
        }
        let names = dir.names()?;
        let above = (outer.device, outer.inode);
        Ok((Self { name: name.to_vec(), above, names, next: 0 }, dir))
    }
}

/// Unlinks what is not a directory. `false`: it is one.
fn unlinked(dir: &Dir, name: &[u8]) -> Result<bool, LocalError> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::ISDIR) => Ok(false),
        Err(errno) => Err(LocalError::new("remove", name, errno)),
    }
}

fn removed(dir: &Dir, name: &[u8]) -> Result<(), LocalError> {
    match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        result => result.at("remove directory", name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn removes_any_kind_and_follows_no_link() {
        let temp = tempfile::tempdir().unwrap();
        let dir = TargetDir::open(temp.path()).unwrap();
        fs::create_dir_all(temp.path().join("keep/inside")).unwrap();
        for name in ["a/1/x", "a/2/y", "a/2/z/w", "a/3"] {
            fs::create_dir_all(temp.path().join("tree").join(name)).unwrap();
        }
        fs::write(temp.path().join("tree/a/2/file"), b"").unwrap();
        symlink(temp.path().join("keep"), temp.path().join("tree/a/link")).unwrap();
        symlink("keep", temp.path().join("link")).unwrap();
        for name in [b"tree".as_slice(), b"link", b"none"] {
            dir.remove(name).unwrap();
            assert_eq!(dir.look(name).unwrap(), None);
        }
        assert!(temp.path().join("keep/inside").exists());
        assert!(dir.remove(b"..").is_err() && dir.remove(b"keep/inside").is_err());
    }

    #[test]
    fn tree_deeper_than_path_max_and_than_the_descriptor_limit_is_removed() {
        let temp = tempfile::tempdir().unwrap();
        let root = TargetDir::open(temp.path()).unwrap();
        let mut dir = root.make_dir(b"deep").unwrap();
        for level in 0..2500_u32 {
            dir.create_file(b"file").unwrap();
            dir = dir.make_dir(if level % 2 == 0 { b"even" } else { b"odd\xff" }).unwrap();
        }
        root.remove(b"deep").unwrap();
        assert!(root.dir().names().unwrap().is_empty());
    }
}
