//! `/.icecore/{status,status.json,metrics}`: what the mount shows, was asked, and has read.
//!
//! Each look-up of a text makes it anew, under a number of its own that means that text for as long
//! as the kernel remembers it. So its size is right, a reader never sees two states mixed, and no
//! handle is needed. What a name leads to may be kept for a second.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use crate::clock;
use crate::format::{Kind, Time};
use crate::repo::ReadCounts;
use crate::units;

use super::super::attr::{Attr, Lifetime};
use super::super::error::{Result, VfsError};
use super::super::layout::Layout;
use super::super::{Ino, Seek, Vfs};
use super::View;

/// The texts there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum TextKind {
    Metrics,
    Status,
    Json,
}

impl TextKind {
    /// By name.
    pub(in super::super) const ALL: [Self; 3] = [Self::Metrics, Self::Status, Self::Json];

    pub(in super::super) const fn name(self) -> &'static [u8] {
        match self {
            Self::Metrics => b"metrics",
            Self::Status => b"status",
            Self::Json => b"status.json",
        }
    }
}

#[derive(Debug)]
pub(in super::super) struct Text {
    /// Different for each.
    pub(super) serial: u64,
    bytes: Vec<u8>,
    made: Time,
}

impl Text {
    pub(super) const fn attr(&self, ino: Ino, owner: (u32, u32)) -> Attr {
        let size = self.bytes.len() as u64;
        Attr {
            kind: Kind::File,
            mode: 0o444,
            size,
            blocks: size.div_ceil(512),
            lifetime: Lifetime::Short,
            ..Attr::of_virtual(ino, None, self.made, owner)
        }
    }

    pub(in super::super) fn read_at(&self, offset: u64, buf: &mut [u8]) -> usize {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.bytes.len());
        let rest = self.bytes.get(from..).unwrap_or_default();
        let count = rest.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        count
    }

    pub(in super::super) fn seek(&self, offset: u64, what: Seek) -> Result<u64> {
        let len = self.bytes.len() as u64;
        match what {
            _ if offset >= len => Err(VfsError::NoSuchOffset),
            Seek::Data => Ok(offset),
            Seek::Hole => Ok(len),
        }
    }
}

/// What the texts are made of.
struct Status {
    location: String,
    repository: String,
    mounted: Time,
    snapshots: u64,
    unread: u64,
    newest: Option<(String, Time)>,
    stored: u64,
    remembered: u64,
    lookups: u64,
    listings: u64,
    reads: u64,
    read_bytes: u64,
    errors: u64,
    counts: ReadCounts,
}

impl Vfs {
    /// Makes a text and counts a look-up of it.
    pub(in super::super) fn hold_text(&self, layout: &Layout, kind: TextKind) -> Result<Attr> {
        let status = self.status(layout);
        let text = match kind {
            TextKind::Metrics => status.metrics(),
            TextKind::Status => status.words(),
            TextKind::Json => status.json(),
        };
        let serial = self.views.texts.fetch_add(1, Ordering::Relaxed);
        let text = Text { serial, bytes: text.into_bytes(), made: clock::now() };
        self.hold_view(layout, View::Text(Arc::new(text)))
    }

    fn status(&self, layout: &Layout) -> Status {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let newest = layout.snapshots.last();
        Status {
            location: self.repo.location(),
            repository: self.repo.config().repository.to_string(),
            mounted: self.mounted,
            snapshots: layout.snapshots.len() as u64,
            unread: self.snapshots.unread(),
            newest: newest.map(|snapshot| (snapshot.name.clone(), snapshot.time)),
            stored: self.figures().stored,
            remembered: self.remembered() as u64,
            lookups: get(&self.counters.lookups),
            listings: get(&self.counters.listings),
            reads: get(&self.counters.reads),
            read_bytes: get(&self.counters.read_bytes),
            errors: get(&self.counters.errors),
            counts: self.repo.read_counts(),
        }
    }
}

impl Status {
    /// Chunks that were found in decoded blocks.
    const fn hits(&self) -> u64 {
        self.counts.chunks.saturating_sub(self.counts.blocks)
    }

    /// A snapshot that is not shown may be newer than what is.
    fn unread_words(&self) -> String {
        match self.unread {
            0 => String::new(),
            count => format!(
                "; {count} cannot be read, and may be newer: icecore repair snapshots tells which"
            ),
        }
    }

    fn words(&self) -> String {
        let counts = &self.counts;
        let newest = match &self.newest {
            Some((name, _)) => format!(", the newest {name}"),
            None => String::new(),
        };
        let lines = [
            ("repository", self.location.clone()),
            ("mounted", units::local_time(self.mounted)),
            ("snapshots", format!("{}{newest}{}", self.snapshots, self.unread_words())),
            ("stored", units::size(self.stored)),
            ("asked", format!("{} look-ups, {} listings", self.lookups, self.listings)),
            ("read", format!("{} in {} reads", units::size(self.read_bytes), self.reads)),
            ("cache", format!("{} hits, {} blocks decoded", self.hits(), counts.blocks)),
            (
                "storage",
                format!(
                    "{} in {} reads, {} listings, {} failures",
                    units::size(counts.read_bytes),
                    counts.reads,
                    counts.lists,
                    counts.errors
                ),
            ),
            ("errors", self.errors.to_string()),
            ("remembered", format!("{} for the kernel", self.remembered)),
        ];
        let mut text = String::new();
        for (name, value) in lines {
            let _ = writeln!(text, "{name:<12}{value}");
        }
        text
    }

    fn json(&self) -> String {
        let newest = self.newest.as_ref();
        let status = json!({
            "schema": 1,
            "repository": self.location,
            "repository_id": self.repository,
            "mounted": units::utc_time(self.mounted),
            "newest": newest.map(|(name, _)| name),
            "newest_time": newest.map(|(_, time)| units::utc_time(*time)),
            "figures": self.figures().into_iter()
                .map(|figure| (figure.name.to_owned(), figure.value.into()))
                .collect::<serde_json::Map<_, _>>(),
        });
        format!("{status:#}\n")
    }

    /// Text format 0.0.4, see prometheus.io/docs/instrumenting/exposition_formats.
    fn metrics(&self) -> String {
        let mut text = String::new();
        for Figure { name, help, value } in self.figures() {
            let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
            let _ = writeln!(text, "# HELP icecore_{name} {help}");
            let _ = writeln!(text, "# TYPE icecore_{name} {kind}\nicecore_{name} {value}");
        }
        text
    }

    fn figures(&self) -> Vec<Figure> {
        let figure = |name, help, value| Figure { name, help, value };
        let counts = &self.counts;
        let newest = self.newest.as_ref().map_or(0, |(_, time)| time.secs.try_into().unwrap_or(0));
        vec![
            figure("snapshots", "Snapshots that are shown.", self.snapshots),
            figure("snapshots_unread", "Snapshots that cannot be read.", self.unread),
            figure("newest_snapshot_time_seconds", "Time of the newest, since 1970.", newest),
            figure("stored_bytes", "Stored bytes of all packs.", self.stored),
            figure("remembered", "Pages, directories and links the kernel knows.", self.remembered),
            figure("lookups_total", "Names that were looked up.", self.lookups),
            figure("listings_total", "Parts of directories that were listed.", self.listings),
            figure("reads_total", "Reads of files.", self.reads),
            figure("read_bytes_total", "Bytes that these gave.", self.read_bytes),
            figure("errors_total", "Answers that failed with an I/O error.", self.errors),
            figure("cache_hits_total", "Chunks found in decoded blocks.", self.hits()),
            figure("cache_misses_total", "Blocks that were decoded.", counts.blocks),
            figure("decoded_bytes_total", "Plain bytes of these.", counts.block_bytes),
            figure("storage_reads_total", "Reads of the storage.", counts.reads),
            figure("storage_read_bytes_total", "Bytes that these gave.", counts.read_bytes),
            figure("storage_lists_total", "Listings of the storage.", counts.lists),
            figure("storage_errors_total", "Failures of the storage.", counts.errors),
        ]
    }
}

struct Figure {
    name: &'static str,
    help: &'static str,
    value: u64,
}
