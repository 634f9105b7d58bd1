//! Carrying out one part of a run.
//!
//! What must stay true: a part's error is its own. Nothing here ends a run but an interruption,
//! which the caller sees by its flag.

use std::path::Path;
use std::time::Duration;

use anyhow::bail;

use crate::codec::Compression;
use crate::format::{DrillResult, SnapshotId};
use crate::fsutil;
use crate::ops::capture;
use crate::ops::ingest::{self, ChunkerChoice, ExcludeOptions, IngestOptions};
use crate::ops::prune::{self, PruneOptions};
use crate::ops::replicate::{self, ReplicateOptions, ReplicateReport};
use crate::ops::verify::{self, VerifyOptions, VerifyReport};
use crate::repo::Repository;
use crate::report;
use crate::report::text::{count, duration, ratio};
use crate::strategy::due::Part;
use crate::strategy::file::{Source, Strategy};
use crate::units;

use super::super::context::Context;
use super::super::drill::{self, DrillOptions};
use super::super::forget::marker;
use super::super::ingest::{own, own_mounts, processors};
use super::super::key;
use super::super::places::Places;
use super::super::verify::record;

/// What a part did.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// In words.
    pub told: String,
    /// The snapshot that it made.
    pub snapshot: Option<SnapshotId>,
    /// What could not be taken at a source.
    pub troubles: u64,
}

impl Done {
    fn told(told: String) -> Self {
        Self { told, ..Self::default() }
    }
}

/// Does it.
pub(super) fn carry_out(
    cx: &mut Context,
    strategy: &Strategy,
    places: &Places,
    part: &Part,
) -> anyhow::Result<Done> {
    match part {
        Part::Ingest { source } => ingest(cx, strategy, places, source),
        Part::Replicate { from, to, snapshots, .. } => {
            replicate(cx, places.get(from)?, places.get(to)?, snapshots)
        }
        Part::Retention { repository, forget, .. } => {
            retention(cx, places.get(repository)?, forget)
        }
        Part::Prune { repository } => prune(cx, places.get(repository)?),
        Part::Verify { repository } => verify(cx, strategy, places.get(repository)?),
        Part::Drill { drill } => drilled(cx, strategy, drill),
    }
}

fn ingest(cx: &Context, strategy: &Strategy, places: &Places, name: &str) -> anyhow::Result<Done> {
    let Some(source) = strategy.sources.get(name) else { bail!("there is no source {name}") };
    let Some(place) = strategy.places_of(source).first().copied() else {
        bail!("the strategy names no repository for it");
    };
    let repo = places.get(place)?;
    let options = ingest_options(cx, places, source);
    let bar = cx.bar("ingesting");
    let undoing = cx.interrupt.undoing(capture::abandon)?;
    let done = capture::run(repo, strategy, name, options, &bar, cx.interrupt.flag());
    drop((bar, undoing));
    let done = done?;
    let smaller = match ratio(done.added.plain, done.added.stored) {
        times if times.is_empty() || done.added.stored > done.added.plain => String::new(),
        times => format!(", {times} smaller"),
    };
    let files = count(done.files_new + done.files_changed + done.files_unchanged, "file");
    let stored = units::size(done.added.stored);
    let told = format!("{} in {files}, {stored} stored{smaller}", units::size(done.bytes));
    Ok(Done { told, snapshot: done.snapshot, troubles: done.troubles_count })
}

fn ingest_options(cx: &Context, places: &Places, source: &Source) -> IngestOptions {
    let folders = || places.opened().map(|repo| repo.location());
    let cache = cx.global.cache();
    IngestOptions {
        host: fsutil::machine(),
        user: key::user(),
        tags: source.labels.clone(),
        time: None,
        excludes: ExcludeOptions {
            patterns: source.exclude.clone(),
            ignore_files: true,
            ..ExcludeOptions::default()
        },
        compression: Compression::default(),
        delta: true,
        chunker: ChunkerChoice::Auto,
        threads: processors(),
        max_memory: ingest::MEMORY_DEFAULT,
        keep_atime: false,
        force: false,
        ignore_inode: false,
        ignore_ctime: false,
        raw_sqlite: false,
        dry_run: false,
        own: folders().flat_map(|at| own(Path::new(&at), cache.as_deref())).collect(),
        own_mounts: folders().flat_map(|at| own_mounts(Path::new(&at))).collect(),
    }
}

fn replicate(
    cx: &Context,
    from: &Repository,
    to: &Repository,
    snapshots: &[SnapshotId],
) -> anyhow::Result<Done> {
    let options = ReplicateOptions {
        host: fsutil::machine(),
        program: concat!("icecore ", env!("CARGO_PKG_VERSION")).to_owned(),
        only: Some(snapshots.iter().copied().collect()),
        ..ReplicateOptions::default()
    };
    let mut done = ReplicateReport::default();
    let bar = cx.bar("copying");
    let result = replicate::run_into(from, to, &options, &mut done, &bar, cx.interrupt.flag());
    drop(bar);
    result?;
    if let Some(first) = report::replicate::failures(&done).first() {
        bail!("{first}; `icecore verify` there tells all that is damaged");
    }
    let copied = count(done.copied.len() as u64, "snapshot");
    Ok(Done::told(format!("{copied} copied, {} stored", units::size(done.bytes_stored))))
}

fn retention(cx: &Context, repo: &Repository, forget: &[SnapshotId]) -> anyhow::Result<Done> {
    let marks = repo.marks()?;
    let by = marker();
    let mut forgotten = 0;
    for &id in forget {
        cx.interrupt.check()?;
        // Somebody may have protected it since.
        if !marks.is_protected(id) {
            repo.forget(id, &by)?;
            forgotten += 1;
        }
    }
    Ok(Done::told(format!("{} forgotten", count(forgotten, "snapshot"))))
}

fn prune(cx: &Context, repo: &Repository) -> anyhow::Result<Done> {
    let options = PruneOptions { host: fsutil::machine(), ..PruneOptions::default() };
    let bar = cx.bar("pruning");
    let plan = prune::plan(repo, &options, cx.interrupt.flag())?;
    let done = prune::run(repo, plan, &options, &bar, cx.interrupt.flag());
    drop(bar);
    let told = report::prune::text(&done?);
    let words = told.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    Ok(Done::told(words.collect::<Vec<_>>().join("; ")))
}

fn verify(cx: &Context, strategy: &Strategy, repo: &Repository) -> anyhow::Result<Done> {
    let options = VerifyOptions {
        max_duration: strategy.verify.max_duration.map(|span| span.0),
        older_than: strategy.verify.older_than.map(|span| span.0),
        ..VerifyOptions::default()
    };
    let mut done = VerifyReport::default();
    let bar = cx.bar("verifying");
    let result = verify::run_into(repo, options, &mut done, &bar, cx.interrupt.flag());
    drop(bar);
    if done.complete || done.packs_read > 0 {
        record(repo, &mut done);
    }
    result?;
    if !done.is_clean() {
        let first = done.damaged.first().map_or("", |damaged| damaged.object.as_str());
        let objects = count(done.damaged_count, "damaged object");
        bail!("{objects}, {first} among them; `icecore verify` lists all, and what to do");
    }
    let (read, all) = (units::size(done.bytes_read), units::size(done.bytes_stored));
    Ok(Done::told(format!("{read} of {all} read, all of it good")))
}

fn drilled(cx: &mut Context, strategy: &Strategy, name: &str) -> anyhow::Result<Done> {
    let drilled = drill::carry_out(cx, strategy, name, &DrillOptions::default())?;
    match drilled.result {
        DrillResult::Proven => {
            let rto = duration(Duration::from_nanos(drilled.rto_ns));
            let checks = count(drilled.checks.len() as u64, "check");
            Ok(Done::told(format!("proven in {rto} by {checks}")))
        }
        other => bail!("{}: {}", report::ledger::drill_result(other), drilled.cause),
    }
}
