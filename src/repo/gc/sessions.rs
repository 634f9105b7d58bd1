//! Who else is there: writers that beat, and readers that pin.

use std::collections::{BTreeMap, HashSet};

use crate::format::{Beat, Commit, Folder, FrameKind, ObjectKey, Pin, PinId, SnapshotId, Time};
use crate::repo::Repository;
use crate::repo::error::{InObject, Result};
use crate::repo::index::is_io;
use crate::units::chain;

/// A session that left beats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSession {
    /// The session, and the snapshot that it may become.
    pub id: SnapshotId,
    /// Its beats, by number, ascending.
    pub beats: Vec<u64>,
}

/// What readers need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pinned {
    /// Every snapshot.
    All,
    /// These.
    Some(HashSet<SnapshotId>),
}

impl Pinned {
    /// Whether a reader needs that snapshot.
    #[must_use]
    pub fn has(&self, id: &SnapshotId) -> bool {
        match self {
            Self::All => true,
            Self::Some(ids) => ids.contains(id),
        }
    }
}

impl Repository {
    /// Sessions that have beats and whose snapshot or tombstone is not there.
    pub fn open_sessions(&self) -> Result<Vec<OpenSession>> {
        Ok(self.sessions()?.0)
    }

    /// The same, and after them sessions that have ended and left beats. Beats are listed first:
    /// who has committed by the second look has its snapshot there.
    pub fn sessions(&self) -> Result<(Vec<OpenSession>, Vec<OpenSession>)> {
        let mut sessions: BTreeMap<SnapshotId, Vec<u64>> = BTreeMap::new();
        for listed in self.storage().list(Folder::Sessions)? {
            if let Some(ObjectKey::Beat(session, number)) = listed.key {
                sessions.entry(session).or_default().push(number);
            }
        }
        if sessions.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let ended: HashSet<SnapshotId> = self.snapshot_ids()?.into_iter().collect();
        let session = |(id, mut beats): (_, Vec<u64>)| {
            beats.sort_unstable();
            OpenSession { id, beats }
        };
        Ok(sessions.into_iter().map(session).partition(|session| !ended.contains(&session.id)))
    }

    /// Host and process that a session's last beat states; `None` where it is gone or unreadable.
    pub fn writer_of(&self, session: &OpenSession) -> Option<(String, u32)> {
        let number = *session.beats.last()?;
        let object = ObjectKey::Beat(session.id, number);
        let payload = self.read_framed(&object, FrameKind::Beat).ok()?;
        let beat = Beat::decode(&payload).ok()?;
        let same = beat.repository == self.vault().repository() && beat.session == session.id;
        same.then_some((beat.host, beat.pid))
    }

    /// Keeps a session from committing, unless it has: creates its tombstone. Its beats go.
    pub fn evict(&self, session: &OpenSession, now: Time, host: &str) -> Result<()> {
        if self.rules.tombstone {
            let object = ObjectKey::Snapshot(session.id);
            let payload = Commit::Tombstone { at: now, host: host.to_owned() }
                .encode(self.vault().repository());
            match self.put_framed(&object, FrameKind::Snapshot, payload) {
                Err(err) if err.is_already_exists() => {} // it committed, or another prune was here
                result => result?,
            }
        }
        self.delete_beats(session)
    }

    /// Removes the beats of a session that has ended.
    pub fn delete_beats(&self, session: &OpenSession) -> Result<()> {
        for number in &session.beats {
            self.delete_if_there(&ObjectKey::Beat(session.id, *number))?;
        }
        Ok(())
    }

    /// What the readers need whose pins are there, but for those whose last beat `is_over`. A pin
    /// that cannot be read counts for all snapshots.
    pub fn pinned(&self, is_over: impl Fn(&Pin) -> bool) -> Result<Pinned> {
        let mut pinned = HashSet::new();
        for (id, beats) in self.listed_pins()? {
            match self.read_pin(id, beats.last().copied().unwrap_or(0)) {
                Ok(pin) if is_over(&pin) => {}
                Ok(pin) if pin.snapshots.is_empty() => return Ok(Pinned::All),
                Ok(pin) => pinned.extend(pin.snapshots),
                Err(err) if err.is_not_found() => {} // its reader has just ended
                Err(err) if err.is_damage() || is_io(&err) => {
                    tracing::warn!("{}; it is taken to need every snapshot", chain(&err));
                    return Ok(Pinned::All);
                }
                Err(err) => return Err(err),
            }
        }
        Ok(Pinned::Some(pinned))
    }

    /// Removes pins whose last beat `is_over`; how many. One that beats again meanwhile stays.
    pub fn delete_pins(&self, is_over: impl Fn(&Pin) -> bool) -> Result<u64> {
        let mut deleted = 0;
        for (id, beats) in self.listed_pins()? {
            let last = beats.last().copied().unwrap_or(0);
            if self.read_pin(id, last).is_ok_and(|pin| is_over(&pin)) {
                for beat in beats {
                    self.delete_if_there(&ObjectKey::Pin(id, beat))?;
                }
                deleted += 1;
            }
        }
        Ok(deleted)
    }

    /// All pins with their beats, ascending.
    fn listed_pins(&self) -> Result<BTreeMap<PinId, Vec<u64>>> {
        let mut pins: BTreeMap<PinId, Vec<u64>> = BTreeMap::new();
        for listed in self.storage().list(Folder::Pins)? {
            if let Some(ObjectKey::Pin(id, beat)) = listed.key {
                pins.entry(id).or_default().push(beat);
            }
        }
        pins.values_mut().for_each(|beats| beats.sort_unstable());
        Ok(pins)
    }

    fn read_pin(&self, id: PinId, beat: u64) -> Result<Pin> {
        let object = ObjectKey::Pin(id, beat);
        let payload = self.read_framed(&object, FrameKind::Pin)?;
        Pin::decode(&payload, self.vault().repository(), id, beat).in_object(&object)
    }
}
