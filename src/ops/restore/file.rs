//! One regular file whose content takes work: begun once, done in parts, finished by whoever does
//! the last part.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use crate::format::Body;
use crate::localfs::apply_fd;

use super::content::Opened;
use super::entry::{EntryJob, Job};
use super::failure::Failure;
use super::{Pass, Run, lock};

/// A file whose content is being worked on, by one worker or by several.
pub(super) struct FileWork<'a> {
    job: EntryJob<'a>,
    opened: Opened,
    kept_by_look: bool,
    parts_left: AtomicU64,
    written: AtomicU64,
    failure: Mutex<Option<Failure>>,
}

impl Run<'_> {
    /// Does all that comes before a file's content. `None` where that was all; else the caller has
    /// one part to do.
    pub(super) fn begin_file<'j>(&self, job: EntryJob<'j>) -> Option<Arc<FileWork<'j>>> {
        match self.begin(&job) {
            Ok(Some((opened, kept_by_look))) => Some(Arc::new(FileWork {
                job,
                opened,
                kept_by_look,
                parts_left: AtomicU64::new(1),
                written: AtomicU64::new(0),
                failure: Mutex::default(),
            })),
            Ok(None) => {
                self.settle(job, Ok(()));
                None
            }
            Err(failure) => {
                self.settle(job, Err(failure));
                None
            }
        }
    }

    /// One more part of `work`, for the queue.
    pub(super) fn add_part<'j>(work: &Arc<FileWork<'j>>, range: Range<u64>) -> Job<'j> {
        work.parts_left.fetch_add(1, Ordering::Relaxed);
        Job::Part(Arc::clone(work), range)
    }

    /// Gives up on the rest of a file.
    pub(super) fn spoil(work: &FileWork<'_>, failure: Failure) {
        lock(&work.failure).get_or_insert(failure);
    }

    /// Does one part; whoever does the last one finishes the file.
    pub(super) fn part(&self, work: Arc<FileWork<'_>>, range: Range<u64>) {
        let spoilt = lock(&work.failure).is_some();
        if let Body::File(file) = &work.job.node.body
            && !spoilt
        {
            match self.content(file, &work.opened, range) {
                Ok(written) => drop(work.written.fetch_add(written, Ordering::Relaxed)),
                Err(failure) => Self::spoil(&work, failure),
            }
        }
        if work.parts_left.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(work) = Arc::into_inner(work)
        {
            self.finish_file(work);
        }
    }

    /// Metadata and report of a file whose content is done.
    fn finish_file(&self, mut work: FileWork<'_>) {
        let mut failure = lock(&work.failure).take();
        if matches!(failure, Some(Failure::Differs(_))) && self.pass != Pass::ReadBack {
            failure = self.replace(&mut work).err();
        }
        let result = match failure {
            None => {
                self.complete(&work);
                Ok(())
            }
            Some(failure) => Err(self.clear_away(&work, failure)),
        };
        self.settle(work.job, result);
    }

    /// A file that looked right has other content, and other names: it is made anew.
    fn replace(&self, work: &mut FileWork<'_>) -> Result<(), Failure> {
        work.kept_by_look = false;
        let (Body::File(file), Some(dir)) = (&work.job.node.body, &work.job.dir.target) else {
            return Ok(());
        };
        if self.pass == Pass::Preview {
            work.written = AtomicU64::new(file.data.max(1));
            return Ok(());
        }
        if let Some(opened) = self.create(&work.job, dir)? {
            work.opened = opened;
        }
        let written = self.content(file, &work.opened, 0..file.size)?;
        work.written = AtomicU64::new(written);
        Ok(())
    }

    fn complete(&self, work: &FileWork<'_>) {
        let Body::File(file) = &work.job.node.body else { return };
        if self.pass == Pass::ReadBack {
            return self.tally(|report| {
                report.files_verified += 1;
                report.bytes_verified += file.data;
            });
        }
        let written = work.written.load(Ordering::Relaxed);
        if work.opened.target().is_some() {
            let (node, options) = (&work.job.node, self.apply_options());
            let fd = work.opened.as_fd();
            for err in apply_fd(fd, &work.job.name, node, node.owner(), options) {
                self.trouble(&work.job.below(), &Failure::from(err).to_string());
            }
        }
        let new = matches!(work.opened, Opened::Fill(_));
        self.tally(|report| {
            if new || written > 0 {
                report.files_written += 1;
                report.bytes_written += written;
            } else {
                report.files_kept += 1;
                report.metadata_set += u64::from(!work.kept_by_look);
            }
            report.bytes_kept += file.data.saturating_sub(written);
        });
    }

    /// Sees to it that a file that is not right does not look right.
    fn clear_away(&self, work: &FileWork<'_>, failure: Failure) -> Failure {
        match (&work.opened, &work.job.dir.target) {
            _ if failure.is_resumable() || self.pass != Pass::Write => failure,
            (Opened::Fill(_), Some(dir)) => {
                if let Err(err) = dir.remove(&work.job.name) {
                    self.trouble(&work.job.below(), &Failure::from(err).to_string());
                }
                failure
            }
            (Opened::Mend(old), _) => {
                if let Err(err) = old.file().set_modified(SystemTime::now()) {
                    let failure = Failure::io("set the time of", err);
                    self.trouble(&work.job.below(), &failure.to_string());
                }
                Failure::LeftInParts(Box::new(failure))
            }
            _ => failure,
        }
    }
}
