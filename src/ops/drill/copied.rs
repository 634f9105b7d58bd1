//! What the mode `copy` restores: each part in full, or a sample of it with a statement of what all
//! of it would have taken.
//!
//! The assumption is that each file and each byte takes as long as those that were drawn did; where
//! the two disagree, the slower holds. What does not grow with the sample, as reading the tree,
//! making directories and links, and comparing them, is done first and by itself, measured by
//! itself, and counted once. The rest goes through the tree a second time, which counts as if it
//! grew, so the statement is rather a little too high than too low.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::format::{DrillCheck, SAMPLE};
use crate::ops::path::{Resolved, descend};
use crate::ops::restore::{self, RestoreOptions, Sample, SampleSize};
use crate::ops::{OpError, Result};
use crate::progress::Silent;
use crate::repo::{RepoError, Repository};
use crate::units;

use super::order::{Part, nanos};

fn resolve(repo: &Repository, part: &Part) -> Result<Resolved> {
    let snapshot = repo.read_snapshot(part.snapshot)?.ok_or_else(|| {
        OpError::Repo(RepoError::NoSuchSnapshot { name: part.snapshot.to_string() })
    })?;
    let (path, node) = descend(repo, &snapshot, part.path.as_bytes())?;
    Ok(Resolved { snapshot, path, node })
}

/// Draws the sample of a part, where not all of it is to be restored.
pub(super) fn draw(
    repo: &Repository,
    part: &Part,
    seed: u64,
) -> Result<Option<(Sample, SampleSize)>> {
    let Some(share) = part.share else { return Ok(None) };
    Sample::draw(repo, &resolve(repo, part)?, share.fraction(), seed).map(Some)
}

/// Restores a part, or the sample of it that was drawn: first what is in any sample, then the rest.
/// Without root, whose it was is left out.
pub(super) fn restore_part(
    repo: &Repository,
    part: &Part,
    to: &Path,
    any_owner: bool,
) -> Result<Took> {
    let restore = |sample: Option<Sample>| {
        let started = Instant::now();
        let options = RestoreOptions {
            resolved: resolve(repo, part)?,
            to: to.to_owned(),
            dry_run: false,
            verify: false,
            delete: false,
            threads: 0,
            owner_names: false,
            any_owner,
            sample,
        };
        let report = restore::run(repo, options, &Silent, &AtomicBool::new(false))?;
        match report.troubles.first() {
            Some(trouble) => {
                let what = format!("{} is not restored: {}", part.at, trouble.what);
                Err(OpError::Input(what))
            }
            None => Ok(started.elapsed()),
        }
    };
    let fixed = part.sample.map_or(Ok(Duration::ZERO), |sample| restore(Some(sample.nothing())))?;
    Ok(Took { fixed, growing: restore(part.sample)? })
}

/// How long something took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Took {
    /// What takes as long whatever the sample is.
    pub(super) fixed: Duration,
    /// What grows with it.
    pub(super) growing: Duration,
}

impl Took {
    /// Both together.
    pub(super) fn and(self, other: Self) -> Self {
        Self { fixed: self.fixed + other.fixed, growing: self.growing + other.growing }
    }

    fn measured(self) -> Duration {
        self.fixed + self.growing
    }

    /// What all of it takes longer than the sample, where it is so many times the sample.
    fn longer(self, factor: f64) -> Duration {
        let longer = self.growing.as_secs_f64() * (factor.max(1.0) - 1.0);
        Duration::try_from_secs_f64(longer).unwrap_or(Duration::MAX)
    }
}

/// What was restored of a component, and how long that took.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sampled {
    size: SampleSize,
    took: Took,
}

impl Sampled {
    /// Counts a part that was restored.
    pub(super) fn add(&mut self, size: SampleSize, took: Took) {
        self.size = self.size.and(size);
        self.took = self.took.and(took);
    }

    /// What all of the component would have taken longer, and why that is believed.
    pub(super) fn state(&self, component: &str, compared: Took) -> DrillCheck {
        let (size, took, factor) = (self.size, self.took.and(compared), self.size.factor());
        let longer = took.longer(factor);
        let told = format!(
            "{} of {} files and {} of {} restored and compared in {:.2} s; all of it takes {:.2} s, \
             assuming that every file and byte takes as long as these did, by files or by bytes, \
             whichever is longer ({factor:.2} times {:.2} s), and that directories and links, which \
             are all there, take {:.2} s as here",
            size.files,
            size.files_all,
            units::size(size.bytes),
            units::size(size.bytes_all),
            took.measured().as_secs_f64(),
            took.measured().saturating_add(longer).as_secs_f64(),
            took.growing.as_secs_f64(),
            took.fixed.as_secs_f64(),
        );
        let (name, kind) = (component.to_owned(), SAMPLE.to_owned());
        DrillCheck { name, kind, passed: true, duration_ns: nanos(longer), told }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn took(fixed: u64, growing: u64) -> Took {
        Took { fixed: Duration::from_secs(fixed), growing: Duration::from_secs(growing) }
    }

    #[test]
    fn only_what_grows_with_the_sample_is_scaled() {
        let longer = |took: Took, factor| took.longer(factor).as_secs();
        assert_eq!(longer(took(100, 2), 20.0), 38);
        assert_eq!(longer(took(100, 0), 20.0), 0);
        assert_eq!(longer(took(0, 2), 20.0), 38);
        assert_eq!(longer(took(7, 3), 1.0), 0, "all of it was restored");
        assert_eq!(longer(took(7, 3), 0.5), 0, "never shorter");
        assert_eq!(took(0, 1).longer(f64::INFINITY), Duration::MAX);
        assert_eq!(took(1, 2).and(took(3, 4)), took(4, 6));
    }

    #[test]
    fn a_sample_states_what_all_of_it_takes_and_why() {
        let mut sampled = Sampled::default();
        let size = SampleSize {
            files: 6,
            bytes: 1100,
            files_all: 51,
            bytes_all: 40_100,
            files_always: 1,
            bytes_always: 100,
        };
        sampled.add(size, took(10, 1));
        sampled.add(size, took(10, 2));
        let stated = sampled.state("app", took(5, 1));
        assert_eq!(stated.duration_ns, 4 * 39 * 1_000_000_000);
        assert!(stated.told.contains("12 of 102 files"), "{}", stated.told);
        assert!(
            stated.told.contains("in 29.00 s; all of it takes 185.00 s, assuming"),
            "{stated:?}"
        );
        assert!(stated.told.contains("(40.00 times 4.00 s)"), "{stated:?}");
        assert!(stated.told.contains("take 25.00 s as here"), "{stated:?}");
        assert!(stated.passed && stated.kind == SAMPLE && stated.name == "app");
        let whole = SampleSize { files: 5, files_all: 5, ..SampleSize::default() };
        let mut sampled = Sampled::default();
        sampled.add(whole, took(1, 1));
        assert_eq!(sampled.state("app", Took::default()).duration_ns, 0);
    }
}
