//! The index from packs alone.
//!
//! New segments come first: each is durable, and only the last one says that it and those before
//! it replace the old ones, which are deleted after that. So whatever stops a rebuild leaves the
//! old index, or the old one and more places that are right, or the new one; running it again
//! starts over and replaces what was left.
//!
//! What a pack's own footer no longer tells, and an old segment that can be read does, is taken
//! from there: a damaged footer must not cost the blocks before it. A rebuild is a session, so that
//! a prune waits for it; packs that a prune has decided to delete are left out.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::format::index::{PackInfo, Place, Record, SegmentBuilder};
use crate::format::pack::Footer;
use crate::format::{ObjectKey, PackId, SegmentId};

use super::error::{RepoError, Result};
use super::index::{self, is_io};
use super::pack::{place, read_footer, records};
use super::{Repository, Session, StoredPack};

/// Records of one new segment: their building takes about 200 bytes each.
const RECORDS_PER_SEGMENT: usize = 1 << 20;

/// What a rebuild found, and what it is about to do.
#[derive(Debug, Default)]
pub struct RebuildPlan {
    /// All segments there are, which the new ones replace.
    pub old: Vec<SegmentId>,
    /// Segments that cannot be read.
    pub damaged: Vec<RepoError>,
    /// Packs of which segments tell what is not so: they are gone, or not as long as stated.
    pub wrong: Vec<RepoError>,
    /// Packs whose footers tell what they hold.
    pub packs: u64,
    /// Chunks in these.
    pub chunks: u64,
    /// Chunks in these that the index does not know, or in another place.
    pub unindexed: u64,
    /// Packs whose footers cannot be read, or relied on. Of what they hold, the new index knows what
    /// a readable segment does.
    pub unreadable: Vec<RepoError>,
    /// These packs.
    keep: HashSet<PackId>,
    /// Packs to read.
    sound: Vec<StoredPack>,
}

impl RebuildPlan {
    /// Whether the index is what the packs say already.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.damaged.is_empty() && self.wrong.is_empty() && self.unindexed == 0
    }
}

/// What was written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Rebuilt {
    /// New segments.
    pub segments: u64,
    /// Places in them.
    pub places: u64,
    /// Of these, places taken from old segments.
    pub kept: u64,
    /// Old segments that were deleted.
    pub deleted: u64,
}

impl Repository {
    /// Looks at all segments and at the footer of every pack; `look` is called before each.
    ///
    /// # Errors
    /// Where a later icecore wrote any of them: what it means is not for this one to judge.
    pub fn plan_rebuild(&self, look: &dyn Fn() -> Result<()>) -> Result<RebuildPlan> {
        let mut plan = RebuildPlan { old: self.stored_segments()?, ..RebuildPlan::default() };
        // What is deleted later is in this view of the index, or was not readable.
        self.index().reload()?;
        let doomed = self.generations()?.doomed();
        let mut packs = self.all_packs()?;
        packs.retain(|pack| !doomed.contains(&pack.id));
        let lengths: HashMap<_, _> = packs.iter().map(|pack| (pack.id, pack.len)).collect();
        // Each once, however many segments name it.
        let mut wrong: BTreeMap<String, RepoError> = BTreeMap::new();
        for id in plan.old.clone() {
            look()?;
            for err in self.check_segment(id, &lengths).errors {
                match err {
                    // A medium that fails for a moment is no reason to delete anything.
                    err if err.is_newer() || is_io(&err) => return Err(err),
                    err if err.is_not_found() && !err.is_about_pack() => {} // merged since it was listed
                    err if err.is_about_pack() => {
                        wrong.insert(err.object(), err);
                    }
                    err => plan.damaged.push(err),
                }
            }
        }
        let named = self.index().packs().into_iter().map(|pack| pack.id).collect();
        for pack in packs {
            look()?;
            self.plan_pack(pack, &named, &mut plan)?;
        }
        plan.wrong = wrong.into_values().collect();
        Ok(plan)
    }

    fn plan_pack(
        &self,
        pack: StoredPack,
        named: &HashSet<PackId>,
        plan: &mut RebuildPlan,
    ) -> Result<()> {
        let read = self.footer(&pack).and_then(|(info, footer)| {
            let known = records(&footer, 0).filter(|record| {
                let place = place(info, record);
                self.index().has_place(&record.id, |known| *known == place)
            });
            let (known, all) = (known.count() as u64, records(&footer, 0).count() as u64);
            if known < all && named.contains(&pack.id) {
                self.check_bytes(&pack)?;
            }
            Ok((known, all))
        });
        match read {
            Ok((known, all)) => {
                plan.packs += 1;
                plan.chunks += all;
                plan.unindexed += all - known;
                plan.sound.push(pack);
            }
            Err(err) if err.is_newer() => return Err(err),
            Err(err) if err.is_damage() || is_io(&err) => {
                plan.unreadable.push(err);
                plan.keep.insert(pack.id);
            }
            Err(err) => return Err(err),
        }
        Ok(())
    }

    /// A segment knows all chunks of a pack or none. Where index and footer do not agree, the pack's
    /// name tells which of them is wrong: a footer that is not sealed has no checksum of its own.
    fn check_bytes(&self, pack: &StoredPack) -> Result<()> {
        self.proved_bytes(pack).map(drop)
    }

    fn footer(&self, pack: &StoredPack) -> Result<(PackInfo, Footer)> {
        let object = ObjectKey::Pack(pack.kind, pack.id);
        read_footer(self.storage(), self.vault(), &object, pack.id, pack.kind)
    }

    /// Writes the new index and deletes the old one. `session` lives for as long as that takes;
    /// `look` is called before each pack.
    pub fn rebuild_index(
        &self,
        plan: &RebuildPlan,
        session: &Session<'_>,
        look: &dyn Fn() -> Result<()>,
    ) -> Result<Rebuilt> {
        let mut done = Rebuilt::default();
        let mut builder = SegmentBuilder::default();
        self.index().reload()?;
        self.keep_places(plan, &mut builder);
        done.kept = builder.len() as u64;
        for pack in &plan.sound {
            look()?;
            if builder.len() >= RECORDS_PER_SEGMENT {
                self.publish(std::mem::take(&mut builder), &mut done)?;
                session.beat_when_due()?;
            }
            let (info, footer) = match self.footer(pack) {
                // It was deleted since it was listed.
                Err(err) if err.is_not_found() => continue,
                read => read?,
            };
            let number = builder.add_pack(info);
            records(&footer, number).for_each(|record| builder.add(record));
        }
        plan.old.iter().for_each(|id| builder.replace(*id));
        self.publish(builder, &mut done)?;
        for id in &plan.old {
            done.deleted += u64::from(self.delete_if_there(&ObjectKey::Segment(*id))?);
        }
        self.index().reload()?;
        Ok(done)
    }

    fn publish(&self, builder: SegmentBuilder, done: &mut Rebuilt) -> Result<()> {
        if builder.is_empty() {
            return Ok(());
        }
        done.segments += 1;
        done.places += builder.len() as u64;
        let body = builder.encode();
        let (id, stored) = index::seal(self.vault(), &body)?;
        self.storage().put_new(&ObjectKey::Segment(id), &stored)?;
        Ok(())
    }

    /// What readable segments know of packs that do not tell themselves.
    fn keep_places(&self, plan: &RebuildPlan, builder: &mut SegmentBuilder) {
        if plan.keep.is_empty() {
            return;
        }
        let mut numbers: HashMap<PackId, u32> = HashMap::new();
        for open in self.index().segments().iter() {
            for (id, place) in open.iter().flatten() {
                if !plan.keep.contains(&place.pack.id) {
                    continue;
                }
                let pack = place.pack;
                let pack = *numbers.entry(pack.id).or_insert_with(|| builder.add_pack(pack));
                let Place { block_offset, block_len, chunk_offset, chunk_len, base, .. } = place;
                builder.add(Record {
                    id,
                    pack,
                    block_offset,
                    block_len,
                    chunk_offset,
                    chunk_len,
                    base,
                });
            }
        }
    }
}
