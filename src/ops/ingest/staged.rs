//! Several stages into one snapshot.
//!
//! Stages follow one another: the next one begins when every file of the one before was read, so
//! what a store needs before, between and after its files happens in [`Stages::next`]. Each stage
//! yields a tree of its own, told by the same parent snapshot, and the trees are merged by path.

use std::os::unix::ffi::OsStrExt;

use crate::capture::sqlite;
use crate::format::{Capture, Leaf, Snapshot, Source, Trouble};
use crate::localfs::LocalError;
use crate::ops::error::Result;
use crate::repo::{Repository, Session};

use super::abort::Abort;
use super::budget::Budget;
use super::databases::Databases;
use super::plan::Plan;
use super::tally::Tally;
use super::walk::Task;
use super::{IngestOptions, Input, graft, pipeline};

/// What is taken in one go.
pub struct Stage<'a> {
    /// The source of the strategy that databases found in it are recorded under; may be empty.
    pub source: String,
    /// Where its content comes from.
    pub input: Input<'a>,
    /// Patterns of what is left out, beside those of the options.
    pub excludes: Vec<String>,
    /// What is there may change, grow and vanish while it is read, without harm: its store brings
    /// it together from a log.
    pub is_changing: bool,
    /// What SQLite cannot read is a trouble, though its bytes can be had.
    pub are_databases: bool,
    /// Whose a stream's file is: user, group, mode.
    pub made_as: Option<(u32, u32, u32)>,
}

impl<'a> Stage<'a> {
    /// A stage of this input, of quiet files.
    #[must_use]
    pub fn new(source: impl Into<String>, input: Input<'a>) -> Self {
        let (source, excludes) = (source.into(), Vec::new());
        Self { source, input, excludes, is_changing: false, are_databases: false, made_as: None }
    }
}

/// What to do with a tree that was put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It becomes a snapshot, with these troubles.
    Take(Vec<Trouble>),
    /// It is thrown away, and the stages begin anew.
    Again,
}

/// A tree that was put together and is not committed yet.
#[derive(Debug, Clone, Copy)]
pub struct Drafted<'a> {
    /// The repository, which can read all of the tree.
    pub repo: &'a Repository,
    /// The root.
    pub root: &'a Leaf,
}

/// Gives the stages of one snapshot.
pub trait Stages {
    /// What the snapshot names as its sources, and by which its parent is found. Sorted.
    fn sources(&self) -> Vec<Source>;

    /// The next stage, `None` after the last one. Everything of the stage before was read.
    fn next(&mut self) -> Result<Option<Stage<'_>>>;

    /// Looks at the tree of all stages.
    fn verify(&mut self, _drafted: Drafted<'_>) -> Result<Verdict> {
        Ok(Verdict::Take(Vec::new()))
    }

    /// How the sources were captured; asked once, after the last stage.
    fn captures(&mut self) -> Vec<Capture>;
}

/// What concerns one stage only.
#[derive(Debug, Default)]
pub(super) struct Scope {
    pub(super) number: u32,
    pub(super) source: String,
    pub(super) is_changing: bool,
    pub(super) are_databases: bool,
    pub(super) made_as: Option<(u32, u32, u32)>,
}

impl Scope {
    /// Whether what is lost at this path is no trouble: it vanished where files come and go, or where
    /// SQLite keeps a log or journal while it writes.
    pub(super) fn may_lose(&self, path: &[u8], err: &LocalError) -> bool {
        err.is_not_found() && (self.is_changing || sqlite::main_of(path).is_some())
    }
}

/// What all stages share.
pub(super) struct Shared<'a> {
    pub(super) repo: &'a Repository,
    pub(super) session: &'a Session<'a>,
    pub(super) options: &'a IngestOptions,
    pub(super) parent: Option<&'a Snapshot>,
    pub(super) abort: &'a Abort<'a>,
    pub(super) budget: &'a Budget,
    pub(super) databases: &'a Databases,
}

/// Takes all stages; returns the root of the tree and what was counted.
pub(super) fn take(shared: &Shared<'_>, stages: &mut dyn Stages) -> Result<(Leaf, Tally)> {
    loop {
        let (roots, tally) = all(shared, stages)?;
        let root = graft::graft(shared.repo, shared.session, shared.options, roots)?;
        // What was written must be readable for whoever looks.
        shared.session.flush()?;
        match stages.verify(Drafted { repo: shared.repo, root: &root })? {
            Verdict::Again => {
                shared.abort.verdict()?;
                shared.abort.begin_anew();
            }
            Verdict::Take(troubles) => {
                for Trouble { path, what } in troubles {
                    shared.abort.trouble(&path, what);
                }
                return Ok((root, tally));
            }
        }
    }
}

fn all(shared: &Shared<'_>, stages: &mut dyn Stages) -> Result<(Vec<Leaf>, Tally)> {
    let (mut roots, mut tally) = (Vec::new(), Tally::default());
    while let Some(stage) = stages.next()? {
        let (root, counted) = one(shared, stage, roots.len() as u32)?;
        roots.push(root);
        tally = tally.and(counted);
    }
    Ok((roots, tally))
}

fn one(shared: &Shared<'_>, stage: Stage<'_>, number: u32) -> Result<(Leaf, Tally)> {
    let Shared { repo, session, parent, abort, budget, databases, .. } = *shared;
    let Stage { source, input, excludes, is_changing, are_databases, made_as } = stage;
    let plan = Plan::of(&input)?;
    for (path, what) in &plan.missing {
        abort.trouble(path.as_os_str().as_bytes(), what);
    }
    let mut options = shared.options.clone();
    options.excludes.patterns.extend(excludes);
    options.raw_sqlite |= is_changing;
    options.excludes.ignore_files &= !is_changing;
    let scope = Scope { number, source, is_changing, are_databases, made_as };
    let owners = crate::localfs::Owners::new();
    let task = Task {
        repo,
        session: Some(session),
        options: &options,
        plan: &plan,
        parent,
        abort,
        owners: &owners,
        databases,
        scope: &scope,
    };
    pipeline::run(session, input, task, budget)
}
