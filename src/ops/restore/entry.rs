//! One entry: from what stands in its place to what it must be.

use std::ops::Range;
use std::sync::Arc;

use crate::format::Body;
use crate::format::Kind;
use crate::localfs::{SourceFile, TargetDir, apply};
use crate::ops::path::joined;
use crate::repo::NodeRef;

use super::content::Opened;
use super::directory::Directory;
use super::failure::Failure;
use super::file::FileWork;
use super::links::First;
use super::plan::{Existing, Plan};
use super::{Pass, Run};

/// An entry to be restored.
pub(super) struct EntryJob<'a> {
    /// Held; released when the entry is done.
    pub(super) dir: Arc<Directory>,
    /// Its name on the target.
    pub(super) name: Vec<u8>,
    pub(super) node: NodeRef,
    /// Set where it is the first of several names.
    pub(super) first: Option<First<'a>>,
}

impl EntryJob<'_> {
    pub(super) fn below(&self) -> Vec<u8> {
        joined(&self.dir.below, &self.name)
    }
}

/// What workers take from the queue.
pub(super) enum Job<'a> {
    /// A whole entry.
    Entry(EntryJob<'a>),
    /// A part of a large file.
    Part(Arc<FileWork<'a>>, Range<u64>),
}

impl Run<'_> {
    /// Does one job.
    pub(super) fn work(&self, job: Job<'_>) {
        match job {
            Job::Part(work, range) => self.part(work, range),
            Job::Entry(job) => {
                let Body::File(file) = &job.node.body else {
                    let made = self.begin(&job).map(drop);
                    return self.settle(job, made);
                };
                let size = file.size;
                if let Some(work) = self.begin_file(job) {
                    self.part(work, 0..size);
                }
            }
        }
    }

    /// The entry is done, well or badly.
    pub(super) fn settle(&self, job: EntryJob<'_>, result: Result<(), Failure>) {
        let below = job.below();
        match result {
            Err(failure) => self.fail(&below, failure),
            Ok(()) => {
                if let Some(first) = job.first {
                    first.complete();
                }
            }
        }
        self.progress.done(u64::from(matches!(job.node.body, Body::File(_))), 0);
        self.release(job.dir);
    }

    /// Looks at what there is and does all but content. With a file that needs more: whether it
    /// looks right already.
    pub(super) fn begin(&self, job: &EntryJob<'_>) -> Result<Option<(Opened, bool)>, Failure> {
        if self.stopped() {
            return Err(Failure::Stopped);
        }
        let Some(dir) = &job.dir.target else {
            self.count(&job.node, Plan::Create);
            return Ok(None);
        };
        let existing = Existing::look(dir, &job.name)?;
        let plan = existing.as_ref().map_or(Plan::Create, |existing| self.plan(job, existing));
        if self.pass == Pass::ReadBack && plan != Plan::Keep {
            let what = if existing.is_some() { "its metadata differs" } else { "it is not there" };
            return Err(Failure::Differs(what.into()));
        }
        let kind = existing.as_ref().map(|existing| existing.found.kind);
        let in_the_way = plan == Plan::Create && kind == Some(Kind::Directory);
        if in_the_way && !self.options.delete {
            return Err(Failure::DirectoryInTheWay);
        }
        self.tally(|report| report.removed += u64::from(in_the_way));
        if self.pass != Pass::Write {
            return self.begin_look(job, dir, plan);
        }
        if in_the_way {
            dir.remove(&job.name)?;
        }
        let shared = existing.is_some_and(|existing| existing.found.nlink > 1);
        self.begin_write(job, dir, plan, shared)
    }

    fn plan(&self, job: &EntryJob<'_>, existing: &Existing) -> Plan {
        let found = &existing.found;
        let plan = existing.plan(&job.node, job.first.is_none(), self.apply_options());
        match &job.first {
            Some(first)
                if plan != Plan::Create
                    && found.nlink > 1
                    && !self.links.may_keep(found, first.group()) =>
            {
                Plan::Create
            }
            _ => plan,
        }
    }

    fn begin_look(
        &self,
        job: &EntryJob<'_>,
        dir: &TargetDir,
        plan: Plan,
    ) -> Result<Option<(Opened, bool)>, Failure> {
        let verify = self.options.verify && matches!(plan, Plan::Keep | Plan::Metadata);
        if verify && let Body::File(file) = &job.node.body {
            let opened = SourceFile::open(dir.dir(), &job.name)?;
            if self.pass == Pass::ReadBack {
                // What is cached and clean goes, so that the medium is asked.
                opened.advise_done(0..file.size);
            }
            return Ok(Some((Opened::Compare(opened), plan == Plan::Keep)));
        }
        self.count(&job.node, plan);
        Ok(None)
    }

    fn begin_write(
        &self,
        job: &EntryJob<'_>,
        dir: &TargetDir,
        plan: Plan,
        shared: bool,
    ) -> Result<Option<(Opened, bool)>, Failure> {
        let keep = plan == Plan::Keep;
        let verify = self.options.verify && matches!(plan, Plan::Keep | Plan::Metadata);
        if let Body::File(file) = &job.node.body
            && (plan == Plan::Mend || verify)
        {
            if shared {
                return Ok(Some((Opened::Compare(SourceFile::open(dir.dir(), &job.name)?), keep)));
            }
            // Not one that is being executed: that is replaced instead.
            if let Ok(old) = dir.open_existing(&job.name) {
                let found = old.found()?;
                if found.nlink == 1 {
                    if found.size != file.size {
                        old.set_len(file.size)
                            .map_err(|err| Failure::io("set the size of", err))?;
                    }
                    return Ok(Some((Opened::Mend(old), keep)));
                }
            }
            return self.create(job, dir).map(|opened| opened.map(|opened| (opened, false)));
        }
        match plan {
            Plan::Keep => {}
            Plan::Metadata => self.apply(job, dir),
            Plan::Mend | Plan::Create => {
                if let Some(opened) = self.create(job, dir)? {
                    return Ok(Some((opened, false)));
                }
                self.apply(job, dir);
            }
        }
        self.count(&job.node, plan);
        Ok(None)
    }

    /// Makes the entry anew; a file is returned to be filled.
    pub(super) fn create(
        &self,
        job: &EntryJob<'_>,
        dir: &TargetDir,
    ) -> Result<Option<Opened>, Failure> {
        match &job.node.body {
            Body::File(file) => {
                let new = dir.create_file(&job.name)?;
                new.set_len(file.size).map_err(|err| Failure::io("set the size of", err))?;
                return Ok(Some(Opened::Fill(new)));
            }
            Body::Symlink { target } => dir.symlink(&job.name, target)?,
            special => dir.mknod(&job.name, special)?,
        }
        Ok(None)
    }

    fn apply(&self, job: &EntryJob<'_>, dir: &TargetDir) {
        let (node, options) = (&job.node, self.apply_options());
        for err in apply(dir, &job.name, node, node.owner(), options) {
            self.trouble(&job.below(), &Failure::from(err).to_string());
        }
    }

    /// Counts what was done with an entry, or would be.
    pub(super) fn count(&self, node: &NodeRef, plan: Plan) {
        let data = match &node.body {
            Body::File(file) => Some(file.data),
            _ => None,
        };
        self.progress.done(0, data.unwrap_or(0));
        if self.pass == Pass::ReadBack {
            return; // counted when it was made
        }
        self.tally(|report| {
            let kept = matches!(plan, Plan::Keep | Plan::Metadata);
            report.metadata_set += u64::from(plan == Plan::Metadata);
            match (data, kept) {
                (Some(data), true) => {
                    report.files_kept += 1;
                    report.bytes_kept += data;
                }
                (Some(data), false) => {
                    report.files_written += 1;
                    report.bytes_written += data;
                }
                (None, true) => report.others_kept += 1,
                (None, false) => report.others_made += 1,
            }
        });
    }
}
