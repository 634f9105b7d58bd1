//! The walk: directories in, entries out to the workers, further names linked.

use std::collections::VecDeque;
use std::sync::Arc;

use crossbeam_channel::Sender;

use crate::format::{Body, File};
use crate::localfs::{LocalError, TargetDir};
use crate::ops::path::joined;
use crate::ops::{OpError, Result};
use crate::repo::{Entries, NodeRef};

use super::directory::{Directory, Root};
use super::entry::{EntryJob, Job};
use super::failure::Failure;
use super::file::FileWork;
use super::links::{First, Target};
use super::sample::Sample;
use super::{Pass, Run, SIZES};

/// A further name of an inode. Its directory is held.
struct LinkJob {
    dir: Arc<Directory>,
    node: NodeRef,
    group: u64,
}

/// The one thread that walks.
struct Walker<'w, 'a> {
    run: &'w Run<'a>,
    root: &'w Root,
    jobs: Sender<Job<'w>>,
    waiting: VecDeque<LinkJob>,
    /// The directory that was last opened to link from: links come in runs.
    opened: Option<(Vec<u8>, TargetDir)>,
}

impl Run<'_> {
    /// Walks the tree and sends jobs; returns once all were sent, not done.
    pub(super) fn walk<'w>(&'w self, root: &'w Root, jobs: Sender<Job<'w>>) -> Result<()> {
        let mut walker = Walker { run: self, root, jobs, waiting: VecDeque::new(), opened: None };
        let node = &self.options.resolved.node;
        match root {
            Root::Entry { dir, name } => {
                let (dir, name, node) = (dir.hold(), name.clone(), node.clone());
                walker.submit(EntryJob { dir, name, node, first: None })?;
            }
            Root::Directory { dir, existed } => walker.tree(dir, node, *existed)?,
        }
        while !walker.waiting.is_empty() {
            walker.link_next(true)?;
        }
        self.release(Arc::clone(root.dir()));
        Ok(())
    }
}

impl Run<'_> {
    /// Whether an entry is in the sample, where only a sample is restored.
    fn is_wanted(&self, dir: &Directory, node: &NodeRef) -> bool {
        let has = |sample: &Sample| sample.has(&joined(&dir.below, &node.name), node);
        self.options.sample.as_ref().is_none_or(has)
    }
}

impl<'w> Walker<'w, '_> {
    fn tree(&mut self, root: &Arc<Directory>, node: &NodeRef, existed: bool) -> Result<()> {
        let mut levels = vec![(Arc::clone(root), self.begin(root, node, existed))];
        while let Some((dir, entries)) = levels.last_mut() {
            if self.run.stopped() {
                break;
            }
            match entries.next() {
                Some(Ok(node)) if matches!(node.body, Body::Directory { .. }) => {
                    match self.run.enter(dir, node.clone()) {
                        Ok((below, existed)) => {
                            let entries = self.begin(&below, &node, existed);
                            levels.push((below, entries));
                        }
                        Err(failure) => {
                            let path = joined(&dir.below, &node.name);
                            self.run.fail(&path, failure);
                        }
                    }
                }
                Some(Ok(node)) if !self.run.is_wanted(dir, &node) => {}
                Some(Ok(node)) => {
                    let dir = Arc::clone(dir);
                    self.entry(&dir, node)?;
                }
                Some(Err(err)) => self.run.fail(&dir.below, err.into()),
                None => {
                    let Some((dir, _)) = levels.pop() else { break };
                    // The root's own part is released last, after the links that wait.
                    if !levels.is_empty() {
                        self.run.release(dir);
                    }
                }
            }
        }
        Ok(())
    }

    /// Counts a directory, tidies it where that was asked for, and lists the snapshot's entries.
    fn begin(&self, dir: &Directory, node: &NodeRef, existed: bool) -> Entries<'w> {
        let run = self.run;
        let page = match &node.body {
            Body::Directory { page, .. } => *page,
            _ => None,
        };
        if run.pass != Pass::ReadBack {
            run.tally(|report| match existed {
                true => report.directories_kept += 1,
                false => report.directories_made += 1,
            });
            if run.options.delete && existed {
                run.remove_extras(dir, page);
            }
        }
        run.repo.entries(page)
    }

    fn entry(&mut self, dir: &Arc<Directory>, node: NodeRef) -> Result<()> {
        let dir = dir.hold();
        let first = match node.link {
            Some(link) if !self.run.links.is_first(link, &dir.below, &node.name) => {
                self.waiting.push_back(LinkJob { dir, node, group: link.group });
                return self.link_next(self.waiting.len() > SIZES.links_waiting);
            }
            Some(link) => Some(First::new(&self.run.links, link.group)),
            None => None,
        };
        self.submit(EntryJob { dir, name: node.name.clone(), node, first })
    }

    /// Sends an entry to the workers, a large file in parts.
    fn submit(&self, job: EntryJob<'w>) -> Result<()> {
        let node = job.node.clone();
        match &node.body {
            Body::File(file) if file.size >= SIZES.split_min => match self.run.begin_file(job) {
                Some(work) => self.split(file, work),
                None => Ok(()),
            },
            _ => self.send(Job::Entry(job)),
        }
    }

    fn send(&self, job: Job<'w>) -> Result<()> {
        self.jobs.send(job).map_err(|_| OpError::Panicked)
    }

    /// Parts end where extents do; a hole is never cut, however long.
    fn split(&self, file: &File, work: Arc<FileWork<'w>>) -> Result<()> {
        let mut at = 0;
        while at < file.size && !self.run.stopped() {
            let last = (at.saturating_add(SIZES.part)).min(file.size) - 1;
            let placed = match self.run.repo.extent_at(file, last) {
                Ok(placed) => placed,
                Err(err) => {
                    Run::spoil(&work, err.into());
                    break;
                }
            };
            let end = placed.map_or(file.size, |placed| placed.offset + placed.extent.len);
            self.send(Run::add_part(&work, at..end))?;
            at = end;
        }
        if at < file.size && self.run.stopped() {
            Run::spoil(&work, Failure::Stopped);
        }
        // The part that begin_file left to us: nothing, but the file may be complete with it.
        self.run.part(work, 0..0);
        Ok(())
    }

    /// Links names in the order met, while their inodes are complete; with `wait`, at least one.
    fn link_next(&mut self, mut wait: bool) -> Result<()> {
        while let Some(next) = self.waiting.front() {
            let target = self.run.links.target(next.group, wait);
            if target == Target::Pending {
                break;
            }
            let Some(next) = self.waiting.pop_front() else { break };
            self.link(next, target)?;
            wait = false;
        }
        Ok(())
    }

    fn link(&mut self, job: LinkJob, target: Target) -> Result<()> {
        let run = self.run;
        let below = joined(&job.dir.below, &job.node.name);
        let done = match target {
            _ if run.stopped() => Err(Failure::Stopped),
            Target::Link(dir, name) => self.make_link(&job, &dir, &name),
            _ if run.pass == Pass::ReadBack => Err(Failure::Differs("its inode differs".into())),
            Target::Pending | Target::Failed => Err(Failure::FirstNameFailed),
        };
        match done {
            Err(Failure::Local(err)) if !err.is_full() && run.pass == Pass::Write => {
                let what = format!("restored as a copy: {}", Failure::from(err));
                run.trouble(&below, &what);
                let (name, node) = (job.node.name.clone(), job.node);
                return self.submit(EntryJob { dir: job.dir, name, node, first: None });
            }
            Err(failure) => run.fail(&below, failure),
            Ok(made) => run.tally(|report| match (run.pass, made) {
                (Pass::ReadBack, _) => {}
                (_, true) => report.links_made += 1,
                (_, false) => report.links_kept += 1,
            }),
        }
        if let Body::File(file) = &job.node.body {
            run.progress.done(1, file.data);
        }
        run.release(job.dir);
        Ok(())
    }

    /// Whether a link had to be made.
    fn make_link(&mut self, job: &LinkJob, dir: &[u8], name: &[u8]) -> Result<bool, Failure> {
        let run = self.run;
        let Some(to) = &job.dir.target else { return Ok(true) };
        let from = match self.linked_from(&job.dir, dir) {
            Err(err) if run.pass == Pass::Preview && err.is_not_found() => return Ok(true),
            from => from?,
        };
        let first = from.and_then(|from| from.look(name).transpose()).transpose()?;
        let there = to.look(&job.node.name)?;
        let inode = |found: &crate::localfs::Found| (found.device, found.inode);
        if first.is_some() && there.as_ref().map(inode) == first.as_ref().map(inode) {
            return Ok(false);
        }
        match (run.pass, from) {
            (Pass::ReadBack, _) => Err(Failure::Differs("it is another inode".into())),
            (Pass::Preview, _) | (_, None) => Ok(true),
            (Pass::Write, Some(from)) => {
                let directory = crate::format::Kind::Directory;
                if there.is_some_and(|there| there.kind == directory) {
                    if !run.options.delete {
                        return Err(Failure::DirectoryInTheWay);
                    }
                    to.remove(&job.node.name)?;
                    run.tally(|report| report.removed += 1);
                }
                to.hard_link(from, name, &job.node.name)?;
                Ok(true)
            }
        }
    }

    /// The directory `below` the target, where the first name is; `None` where a preview has none.
    fn linked_from<'s>(
        &'s mut self,
        here: &'s Directory,
        below: &[u8],
    ) -> Result<Option<&'s TargetDir>, LocalError> {
        if here.below == below {
            return Ok(here.target.as_ref());
        }
        let Some(root) = &self.root.dir().target else { return Ok(None) };
        if below.is_empty() {
            return Ok(Some(root));
        }
        if self.opened.as_ref().is_none_or(|(opened, _)| opened != below) {
            let mut names = below.split(|&byte| byte == b'/');
            let mut dir = root.open_dir(names.next().unwrap_or_default())?;
            for name in names {
                dir = dir.open_dir(name)?;
            }
            self.opened = Some((below.to_vec(), dir));
        }
        Ok(self.opened.as_ref().map(|(_, dir)| dir))
    }
}
