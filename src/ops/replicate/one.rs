//! One snapshot: from its pin at the source to its commit at the destination.

use std::sync::atomic::AtomicBool;

use crate::format::{Leaf, Node, Origin, Snapshot, SnapshotId};
use crate::progress::Progress;
use crate::repo::{PageWriter, ReaderPin, Repository, Session, Writer, WrittenDirectory};
use crate::units::chain;

use super::assemble::Assembler;
use super::check::Check;
use super::content::Mover;
use super::failure::Failure;
use super::known::KnownIds;
use super::sound::Sound;
use super::walk::Walk;
use super::window::{Ids, Window};
use super::{ReplicateOptions, check, encoder};

/// What is on both sides, and nearest to a snapshot.
#[derive(Clone, Copy, Default)]
pub(super) struct Near<'a> {
    /// The snapshot at the source and its copy.
    pub(super) reference: Option<(&'a Snapshot, &'a Snapshot)>,
    /// The copy of the snapshot's parent.
    pub(super) parent: Option<SnapshotId>,
}

/// Copies one snapshot.
#[derive(Clone, Copy)]
pub(super) struct Copying<'a> {
    pub(super) from: &'a Repository,
    pub(super) to: &'a Repository,
    pub(super) options: &'a ReplicateOptions,
    pub(super) snapshot: &'a Snapshot,
    pub(super) progress: &'a dyn Progress,
    pub(super) interrupted: &'a AtomicBool,
}

impl<'a> Copying<'a> {
    /// Copies and commits. Bytes that were written are added to `stored`, whatever comes of it.
    pub(super) fn run(
        &self,
        near: Near<'a>,
        known: &mut KnownIds,
        stored: &mut u64,
    ) -> Result<Snapshot, Failure> {
        check(self.interrupted)?;
        let writer = Writer { host: self.options.host.clone(), pid: std::process::id() };
        let pin = self.pin(writer.clone(), near);
        let session = Session::begin(self.to, writer, crate::clock::now())?;
        let written = self.write(&session, pin.as_ref(), near, known);
        let written = match written {
            Ok(written) => written,
            Err(failure) => {
                *stored += session.added().stored;
                session.abandon();
                return Err(failure);
            }
        };
        *stored += session.added().stored;
        Ok(session.commit(|id, added| self.copy(id, added, written, near.parent))?)
    }

    /// Keeps prunes of the source from the snapshots that are read. Without it the reader has their
    /// grace.
    fn pin(&self, reader: Writer, near: Near<'_>) -> Option<ReaderPin<'a>> {
        let mut needed = vec![self.snapshot.id];
        needed.extend(near.reference.map(|(here, _)| here.id));
        match self.from.pin(needed, reader, crate::fsutil::lives) {
            Ok(pin) => Some(pin),
            Err(err) => {
                let id = self.snapshot.id;
                tracing::debug!("snapshot {id} is read without a pin: {}", chain(&err));
                None
            }
        }
    }

    /// Writes the tree, and proves that all of it can be found.
    fn write(
        &self,
        session: &Session<'_>,
        pin: Option<&ReaderPin<'_>>,
        near: Near<'_>,
        known: &mut KnownIds,
    ) -> Result<WrittenDirectory, Failure> {
        let (from, to, degraded) = (self.from, self.to, session.is_degraded());
        if degraded {
            known.clear();
        }
        let pages = PageWriter::new(session, encoder(self.options)?, true);
        let mut assembler = Assembler::new(pages);
        let sound = Sound::new(to, session);
        let mut walk = Walk::new((from, to), self.progress, sound, self.snapshot, near.reference);
        let same = from.shares_ids_with(to);
        let mover =
            Mover { from, to, session, options: self.options, interrupted: self.interrupted };
        loop {
            check(self.interrupted)?;
            let mut ids = Ids { from, to, session, same, degraded, known };
            let mut window = Window::fill(&mut walk, &mut ids)?;
            if window.events.is_empty() {
                break;
            }
            if let Some(Err(err)) = pin.map(ReaderPin::beat_when_due) {
                tracing::warn!("cannot renew a pin: {}", chain(&err));
            }
            session.beat_when_due()?;
            mover.window(&mut window)?;
            for event in std::mem::take(&mut window.events) {
                assembler.add(event, &window.ids)?;
            }
            window.ids.into_iter().for_each(|(id, there)| known.add(id, there));
        }
        let root = assembler.finish()?;
        session.flush()?;
        let (options, interrupted) = (self.options, self.interrupted);
        let old = near.reference.map(|(_, copy)| Repository::root(copy));
        Check { to, session, options, interrupted }.tree(root.page, old)?;
        Ok(root)
    }

    fn copy(
        &self,
        id: SnapshotId,
        added: crate::format::Added,
        root: WrittenDirectory,
        parent: Option<SnapshotId>,
    ) -> Snapshot {
        let (snapshot, repository) = (self.snapshot, self.from.config().repository);
        let node = Node { body: root.into(), ..snapshot.root_node().clone() };
        let origin = Origin { repository, snapshot: snapshot.id };
        Snapshot {
            id,
            parent,
            added,
            root: Leaf { nodes: vec![node], ..snapshot.root.clone() },
            origin: Some(snapshot.origin.unwrap_or(origin)),
            ..snapshot.clone()
        }
    }
}
