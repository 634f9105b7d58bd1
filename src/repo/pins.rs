//! Pins: a reader that may write says which snapshots it needs, and no prune takes those.
//!
//! What must stay true: a beat is created before the one before it is removed, so whoever lists
//! `pins/` always sees one. Pins of processes of this machine that are gone are removed by the next
//! reader here: nobody else can tell.

use crate::codec::random;
use crate::format::{FrameKind, ObjectKey, Pin, PinId, SnapshotId};
use crate::units::chain;

use super::Repository;
use super::beats::Beats;
use super::error::Result;
use super::session::Writer;

/// A reader of some snapshots; it ends when this is dropped.
#[derive(Debug)]
pub struct ReaderPin<'r> {
    repo: &'r Repository,
    id: PinId,
    snapshots: Vec<SnapshotId>,
    reader: Writer,
    beats: Beats,
}

impl Repository {
    /// Says that these snapshots are needed, until the result is dropped. Takes the pins away that
    /// readers of this machine left whose process `lives` denies.
    ///
    /// # Errors
    /// Where nothing can be written: a reader does without then, and has the grace of prunes.
    pub fn pin(
        &self,
        snapshots: Vec<SnapshotId>,
        reader: Writer,
        lives: impl Fn(u32) -> bool,
    ) -> Result<ReaderPin<'_>> {
        self.delete_pins(|pin| pin.host == reader.host && !lives(pin.pid))?;
        let (id, beats) = (PinId(random()?), Beats::begin());
        let pin = ReaderPin { repo: self, id, snapshots, reader, beats };
        pin.put(0)?;
        Ok(pin)
    }
}

impl ReaderPin<'_> {
    /// Says that the reader lives, when a quarter of the time-out has passed. Cheap otherwise.
    pub fn beat_when_due(&self) -> Result<()> {
        let Some(number) = self.beats.due(self.repo.session_timeout) else { return Ok(()) };
        self.put(number)?;
        self.repo.delete_if_there(&ObjectKey::Pin(self.id, number - 1)).map(drop)
    }

    fn put(&self, beat: u64) -> Result<()> {
        let pin = Pin {
            repository: self.repo.vault().repository(),
            id: self.id,
            beat,
            snapshots: self.snapshots.clone(),
            at: crate::clock::now(),
            host: self.reader.host.clone(),
            pid: self.reader.pid,
        };
        let object = ObjectKey::Pin(self.id, beat);
        self.repo.put_framed(&object, FrameKind::Pin, pin.encode())
    }
}

impl Drop for ReaderPin<'_> {
    fn drop(&mut self) {
        let last = self.beats.last();
        for beat in last.saturating_sub(1)..=last {
            if let Err(err) = self.repo.delete_if_there(&ObjectKey::Pin(self.id, beat)) {
                tracing::warn!("cannot remove a pin: {}", chain(&err));
            }
        }
    }
}
