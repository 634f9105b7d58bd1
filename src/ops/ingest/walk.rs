//! The walker: through the sources in name order, one step per entry.
//!
//! It lists, inspects and leaves out; what follows from that is the comparer's business, which goes
//! through the same steps on a thread of its own. Steps travel in batches: a queue that is woken for
//! each of a million entries takes longer than inspecting them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crossbeam_channel::Sender;

use crate::format::{Kind, Snapshot, Xattr};
use crate::localfs::{self, Dir, Found, LocalError, Owners};
use crate::ops::error::Result;
use crate::repo::{Repository, Session};

use super::IngestOptions;
use super::abort::Abort;
use super::databases::Databases;
use super::excludes::Excluder;
use super::plan::{Branch, Plan};
use super::staged::Scope;
use super::tally::Tally;

/// What the walker met next, in the order of the snapshot's tree.
pub(super) enum Step {
    /// A directory begins; its entries follow.
    Enter(Box<Entered>),
    /// An entry of the current directory: its name in the batch, and what it is.
    Entry(Range<usize>, Found),
    /// The current directory ends.
    Leave,
}

/// A directory that begins.
pub(super) struct Entered {
    pub(super) name: Vec<u8>,
    pub(super) found: Found,
    pub(super) xattrs: Vec<Xattr>,
    /// `None` where it cannot be opened: it has no entries then.
    pub(super) dir: Option<Arc<Dir>>,
}

/// Steps in a row.
#[derive(Default)]
pub(super) struct Steps {
    pub(super) names: Vec<u8>,
    pub(super) steps: Vec<Step>,
    directories: usize,
}

/// Steps after which a batch goes on.
const STEPS_MAX: usize = 256;
/// Directories after which it does: each is held open.
const DIRECTORIES_MAX: usize = 32;

impl Steps {
    fn is_full(&self) -> bool {
        self.steps.len() >= STEPS_MAX || self.directories >= DIRECTORIES_MAX
    }
}

/// What every thread of an ingest of paths looks at.
#[derive(Clone, Copy)]
pub(super) struct Task<'a> {
    pub(super) repo: &'a Repository,
    /// `None` for a dry run.
    pub(super) session: Option<&'a Session<'a>>,
    pub(super) options: &'a IngestOptions,
    pub(super) plan: &'a Plan,
    pub(super) parent: Option<&'a Snapshot>,
    pub(super) abort: &'a Abort<'a>,
    pub(super) owners: &'a Owners,
    pub(super) databases: &'a Databases,
    pub(super) scope: &'a Scope,
}

pub(super) struct Walker<'a> {
    options: &'a IngestOptions,
    abort: &'a Abort<'a>,
    scope: &'a Scope,
    excluder: Excluder<'a>,
    outlet: Sender<Steps>,
    batch: Steps,
    path: Vec<u8>,
    /// Directories, and what was left out.
    tally: Tally,
}

/// A directory being walked.
struct Place<'p> {
    dir: Arc<Dir>,
    /// `None`: everything below a source; else only these entries.
    only: Option<&'p BTreeMap<Vec<u8>, Branch>>,
    /// Device of the source that this lies in.
    device: Option<u64>,
}

impl<'a> Walker<'a> {
    pub(super) fn new(task: Task<'a>, outlet: Sender<Steps>) -> Result<Self> {
        let Task { options, abort, scope, .. } = task;
        Ok(Self {
            options,
            abort,
            scope,
            excluder: Excluder::new(&options.excludes)?,
            outlet,
            batch: Steps::default(),
            path: Vec::new(),
            tally: Tally::default(),
        })
    }

    /// Walks from the snapshot's root.
    pub(super) fn run(mut self, plan: &Plan) -> Result<Tally> {
        let dir = Arc::new(Dir::open(&plan.root)?);
        let found = localfs::inspect_fd(&*dir)?;
        let (only, device) = match &plan.tree {
            Branch::Whole => (None, Some(found.device)),
            Branch::Only(entries) => (Some(entries), None),
        };
        let xattrs = localfs::read_xattrs_fd(&*dir)?;
        self.enter(Entered { name: Vec::new(), found, xattrs, dir: Some(Arc::clone(&dir)) });
        self.children(&Place { dir, only, device });
        self.step(Step::Leave);
        self.flush();
        Ok(self.tally)
    }

    fn step(&mut self, step: Step) {
        self.batch.steps.push(step);
        if self.batch.is_full() {
            self.flush();
        }
    }

    fn enter(&mut self, entered: Entered) {
        self.batch.directories += 1;
        self.step(Step::Enter(Box::new(entered)));
    }

    fn flush(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        // A closed queue means that the comparer is gone, and it has said why.
        let _ = self.outlet.send(batch);
    }

    fn trouble(&self, err: &LocalError) {
        if !self.scope.may_lose(&self.path, err) {
            self.abort.lost(&self.path, err);
        }
    }

    fn children(&mut self, place: &Place<'_>) {
        match place.only {
            Some(entries) => {
                for (name, branch) in entries {
                    self.visit(place, name, Some(branch));
                }
            }
            None => self.all_children(place),
        }
    }

    fn all_children(&mut self, place: &Place<'_>) {
        let names = match place.dir.names() {
            Ok(names) => names,
            Err(err) => return self.trouble(&err),
        };
        for name in names.too_long() {
            self.with_name(name, |walker| {
                walker.abort.trouble(&walker.path, "the name is too long to be stored");
            });
        }
        if let Err(what) = self.excluder.enter(&place.dir, &names, &self.path) {
            self.abort.trouble(&self.path, what);
        }
        let tag = self.excluder.tag(&place.dir, &names);
        for entry in names.iter() {
            if self.abort.is_set() {
                break;
            }
            if tag.as_deref().is_some_and(|tag| tag != entry.name) {
                self.tally.excluded += 1;
                continue;
            }
            self.visit(place, entry.name, None);
        }
        self.excluder.leave();
    }

    fn with_name(&mut self, name: &[u8], act: impl FnOnce(&mut Self)) {
        let len = self.path.len();
        self.path.push(b'/');
        self.path.extend_from_slice(name);
        act(self);
        self.path.truncate(len);
    }

    fn visit(&mut self, place: &Place<'_>, name: &[u8], branch: Option<&Branch>) {
        self.with_name(name, |walker| {
            let found = match localfs::inspect(&place.dir, name) {
                Ok(found) => found,
                // What is left out may come and go.
                Err(err)
                    if err.is_not_found()
                        && branch.is_none()
                        && walker.excluder.excludes(&walker.path, false) =>
                {
                    return;
                }
                Err(err) => return walker.trouble(&err),
            };
            let is_dir = found.kind == Kind::Directory;
            // What the user named is taken, whatever the patterns say of it.
            if branch.is_none() && walker.excluder.excludes(&walker.path, is_dir) {
                walker.tally.excluded += 1;
            } else if is_dir {
                walker.directory(place, name, branch, found);
            } else if let Some(Branch::Only(_)) = branch {
                walker.abort.trouble(&walker.path, "replaced by another kind");
            } else if found.kind == Kind::File && walker.excluder.is_too_large(found.size) {
                walker.tally.excluded += 1;
            } else {
                walker.leaf(name, found);
            }
        });
    }

    fn directory(&mut self, place: &Place<'_>, name: &[u8], branch: Option<&Branch>, found: Found) {
        if self.options.own.contains(&(found.device, found.inode)) {
            tracing::info!("{} is left out", String::from_utf8_lossy(&self.path));
            self.tally.excluded += 1;
            return;
        }
        self.tally.directories += 1;
        let opened = place.dir.open_dir(name);
        let xattrs = match &opened {
            Ok(dir) => localfs::read_xattrs_fd(dir),
            Err(_) => localfs::read_xattrs(&place.dir, name),
        };
        let xattrs = xattrs.unwrap_or_else(|err| {
            self.trouble(&err);
            Vec::new()
        });
        let dir = match opened {
            Ok(dir) => Some(Arc::new(dir)),
            Err(err) => {
                self.trouble(&err);
                None
            }
        };
        self.enter(Entered { name: name.to_vec(), found, xattrs, dir: dir.clone() });
        if let Some(dir) = dir {
            let (only, device) = match branch {
                Some(Branch::Only(entries)) => (Some(entries), None),
                _ => (None, place.device.or(Some(found.device))),
            };
            let foreign = device.is_some_and(|device| device != found.device);
            if foreign && self.excluder.one_file_system() {
                // As is told in the documentation of the option.
            } else if self.options.own_mounts.contains(&found.device) {
                let path = String::from_utf8_lossy(&self.path);
                tracing::warn!("{path} is taken as empty: this very repository is mounted there");
            } else {
                self.children(&Place { dir, only, device });
            }
        }
        self.step(Step::Leave);
    }

    fn leaf(&mut self, name: &[u8], found: Found) {
        if found.kind == Kind::File {
            self.abort.progress().expect(1, to_read(&found));
        }
        let start = self.batch.names.len();
        self.batch.names.extend_from_slice(name);
        self.step(Step::Entry(start..start + name.len(), found));
    }
}

/// Bytes that reading a file takes, as far as is known before: holes are not read.
pub(super) fn to_read(found: &Found) -> u64 {
    found.size.min(found.blocks_512.saturating_mul(512))
}
