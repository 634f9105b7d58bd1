//! Directories of the target that are being worked on, and the place where the restore begins.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::format::{Body, ChunkId};
use crate::localfs::{LocalError, TargetDir, apply_fd, differs, inspect_fd, read_xattrs_fd};
use crate::ops::path::joined;
use crate::ops::{OpError, Result};
use crate::repo::{NodeRef, RepoError};

use super::failure::Failure;
use super::{Pass, RestoreOptions, Run, parent_and_name};

/// A directory of the target, open until all below it is done.
#[derive(Debug)]
pub(super) struct Directory {
    /// `None` in a preview where it does not exist.
    pub(super) target: Option<TargetDir>,
    /// Its path below the target; empty for the target itself.
    pub(super) below: Vec<u8>,
    /// Whose metadata it gets; `None` for the directory that only holds the target.
    node: Option<NodeRef>,
    parent: Option<Arc<Directory>>,
    /// The walker, and each entry that is not done.
    pending: AtomicUsize,
}

impl Directory {
    pub(super) fn new(
        target: Option<TargetDir>,
        below: Vec<u8>,
        node: Option<NodeRef>,
        parent: Option<Arc<Self>>,
    ) -> Arc<Self> {
        Arc::new(Self { target, below, node, parent, pending: AtomicUsize::new(1) })
    }

    /// Keeps the directory unfinished for one more entry. Each `hold` needs its `release`.
    pub(super) fn hold(self: &Arc<Self>) -> Arc<Self> {
        self.pending.fetch_add(1, Ordering::Relaxed);
        Arc::clone(self)
    }
}

impl Drop for Directory {
    /// Takes a chain of directories apart without recursion: trees may be deep.
    fn drop(&mut self) {
        let mut parent = self.parent.take();
        while let Some(mut directory) = parent.and_then(Arc::into_inner) {
            parent = directory.parent.take();
        }
    }
}

/// Where the restore begins.
pub(super) enum Root {
    /// The target is this directory.
    Directory { dir: Arc<Directory>, existed: bool },
    /// The target is an entry of that name in this directory.
    Entry { dir: Arc<Directory>, name: Vec<u8> },
}

impl Root {
    /// Opens the target, or makes it.
    pub(super) fn open(options: &RestoreOptions) -> Result<Self> {
        let node = &options.resolved.node;
        if !matches!(node.body, Body::Directory { .. }) {
            return Self::open_parent(&options.to);
        }
        let (target, existed) = match TargetDir::open(&options.to) {
            Ok(dir) => (Some(dir), true),
            Err(err) if err.is_not_found() && options.dry_run => (None, false),
            Err(err) if err.is_not_found() => (Some(make(&options.to, err)?), false),
            Err(err) if err.is_other_kind() => {
                return Err(OpError::Input(format!("{} is not a directory", options.to.display())));
            }
            Err(err) => return Err(err.into()),
        };
        let dir = Directory::new(target, Vec::new(), Some(node.clone()), None);
        Ok(Self::Directory { dir, existed })
    }

    fn open_parent(to: &Path) -> Result<Self> {
        let is_directory = || {
            let what = "is a directory; name the path that the restored file is to have";
            OpError::Input(format!("{} {what}", to.display()))
        };
        let (parent, name) = parent_and_name(to).ok_or_else(is_directory)?;
        let target = TargetDir::open(parent)?;
        if target.look(name)?.is_some_and(|found| found.kind == crate::format::Kind::Directory) {
            return Err(is_directory());
        }
        let dir = Directory::new(Some(target), Vec::new(), None, None);
        Ok(Self::Entry { dir, name: name.to_vec() })
    }

    pub(super) const fn dir(&self) -> &Arc<Directory> {
        match self {
            Self::Directory { dir, .. } | Self::Entry { dir, .. } => dir,
        }
    }

    /// Makes all that was written durable. File systems mounted below the target are their own.
    pub(super) fn sync(&self, to: &Path) -> Result<()> {
        match &self.dir().target {
            None => Ok(()),
            Some(target) => rustix::fs::syncfs(target)
                .map_err(|errno| OpError::io(format!("sync {}", to.display()), errno.into())),
        }
    }
}

fn make(to: &Path, missing: LocalError) -> Result<TargetDir> {
    let Some((parent, name)) = parent_and_name(to) else { return Err(missing.into()) };
    let made = TargetDir::open(parent)?.make_dir(name);
    Ok(made.map_err(|err| err.under(parent))?)
}

impl Run<'_> {
    /// Makes or opens the directory `node` in `parent`.
    pub(super) fn enter(
        &self,
        parent: &Arc<Directory>,
        node: NodeRef,
    ) -> Result<(Arc<Directory>, bool), Failure> {
        let below = joined(&parent.below, &node.name);
        let (target, existed) = match (&parent.target, self.pass) {
            (None, _) => (None, false),
            (Some(above), Pass::Preview) => match above.open_dir(&node.name) {
                Err(err) if err.is_not_found() || err.is_other_kind() => (None, false),
                opened => (Some(opened?), true),
            },
            (Some(above), Pass::ReadBack) => match above.open_dir(&node.name) {
                Err(err) if err.is_not_found() || err.is_other_kind() => {
                    return Err(Failure::Differs("there is no such directory".into()));
                }
                opened => (Some(opened?), true),
            },
            (Some(above), Pass::Write) => {
                let directory = crate::format::Kind::Directory;
                let existed = above.look(&node.name)?.is_some_and(|found| found.kind == directory);
                (Some(above.make_dir(&node.name)?), existed)
            }
        };
        Ok((Directory::new(target, below, Some(node), Some(parent.hold())), existed))
    }

    /// Says that one entry of `dir` is done, or the walker's part; finishes each directory, going
    /// up, for which that was the last one.
    pub(super) fn release(&self, mut dir: Arc<Directory>) {
        while dir.pending.fetch_sub(1, Ordering::AcqRel) == 1 {
            if !self.stopped() {
                self.finish_directory(&dir);
            }
            match &dir.parent {
                Some(parent) => dir = Arc::clone(parent),
                None => return,
            }
        }
    }

    fn finish_directory(&self, dir: &Directory) {
        let (Some(target), Some(node)) = (&dir.target, &dir.node) else { return };
        match self.pass {
            Pass::Preview => {}
            Pass::Write => {
                let options = self.apply_options();
                for err in apply_fd(target, b"", node, node.owner(), options) {
                    self.trouble(&dir.below, &Failure::from(err).to_string());
                }
            }
            Pass::ReadBack => match self.directory_differs(target, node) {
                Ok(false) => {}
                Ok(true) => self.fail(&dir.below, Failure::Differs("its metadata differs".into())),
                Err(err) => self.fail(&dir.below, err.into()),
            },
        }
    }

    fn directory_differs(&self, target: &TargetDir, node: &NodeRef) -> Result<bool, LocalError> {
        let (found, xattrs) = (inspect_fd(target)?, read_xattrs_fd(target)?);
        Ok(differs(&found, &xattrs, node, node.owner(), self.apply_options()))
    }

    /// Removes what a directory has and the snapshot has not. Where the snapshot's entries cannot
    /// all be read, nothing is removed.
    pub(super) fn remove_extras(&self, dir: &Directory, page: Option<ChunkId>) {
        let Some(target) = &dir.target else { return };
        let extras = match self.extras(target, page) {
            Ok(extras) => extras,
            // Damage is reported when the entries are walked.
            Err(Failure::Repo(_)) => return,
            Err(failure) => return self.fail(&dir.below, failure),
        };
        for name in extras {
            if self.stopped() {
                return;
            }
            let removed = if self.pass == Pass::Write { target.remove(&name) } else { Ok(()) };
            match removed {
                Ok(()) => self.tally(|report| report.removed += 1),
                Err(err) => self.fail(&joined(&dir.below, &name), err.into()),
            }
        }
    }

    fn extras(&self, dir: &TargetDir, page: Option<ChunkId>) -> Result<Vec<Vec<u8>>, Failure> {
        let names = dir.dir().names()?;
        let mut nodes = self.repo.entries(page);
        let mut node = nodes.next().transpose()?;
        let mut extras = Vec::new();
        for entry in names.iter() {
            while node.as_ref().is_some_and(|node| node.name.as_slice() < entry.name) {
                node = nodes.next().transpose()?;
            }
            if node.as_ref().is_none_or(|node| node.name != entry.name) {
                extras.push(entry.name.to_vec());
            }
        }
        match nodes.find_map(std::result::Result::err) {
            Some(err) => Err(RepoError::into(err)),
            None => Ok(extras),
        }
    }
}
