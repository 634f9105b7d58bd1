//! The repository: what its objects mean together.
//!
//! Reading needs nothing but an opened [`Repository`]; writing goes through one [`Session`].
//! Bytes that come out of here were checked against their ids; whatever is wrong is an error that
//! names the object.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod ahead;
mod beats;
mod blocks;
mod chunks;
mod content;
mod copy;
mod counters;
mod diff;
mod directory;
mod error;
mod framed;
mod gc;
mod heads;
mod heal;
mod index;
mod keys;
mod ledger;
mod ledger_copy;
mod marks;
mod named;
mod numbers;
mod open_blocks;
mod pack;
mod pages;
mod parity;
mod pins;
mod proved;
mod rebuild;
mod salvage;
mod session;
mod settings;
mod snapshots;
mod stored;
mod transfer;
mod trees;
mod unindexed;
mod vault;
mod verify;
mod weighted;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use ahead::{AheadQueue, NextBlocks};
pub use blocks::Chunk;
pub use chunks::BaseChunk;
pub use content::{ExtentsWriter, Placed};
pub use copy::BlockCopier;
pub use counters::ReadCounts;
pub use diff::{
    Change, Changes, Difference, Differences, Differing, DirectoryRef, PathChange, Side, version_of,
};
pub use directory::{DirectoryWriter, PutPage, WrittenDirectory};
pub use error::{RepoError, Result};
pub use gc::{Generations, OpenSession, Pinned, Rules, Stage, Swept};
pub use heads::Heads;
pub use heal::HealedPack;
pub use index::Records;
pub use keys::{KdfCost, PassedKey, Secret, SlotInfo};
pub use ledger::{LastVerified, LedgerCheck, LedgerEntry, REPAIR};
pub use ledger_copy::LedgerCopy;
pub use marks::{Marker, Marks, TagState};
pub use numbers::ChunkNumbers;
pub use open_blocks::OpenBlocks;
pub use pack::BlockDraft;
pub use pages::PageWriter;
pub use pins::ReaderPin;
pub use rebuild::{RebuildPlan, Rebuilt};
pub use session::{SESSION_TIMEOUT, Session, Writer};
pub use snapshots::{SnapshotFilter, SnapshotList};
pub use transfer::{ChunkTransfer, Taken, Waiting};
pub use trees::{Entries, LeafAt, NodeRef, Page, PageAt};
pub use unindexed::Unindexed;
pub use verify::{IndexCheck, PACK_MISSING, PackCheck, StoredPack};
pub(crate) use weighted::WeightedLru;

use crate::codec::aead::{MasterKey, SubKey};
use crate::codec::random;
use crate::format::{
    ChunkId, Chunking, Config, Extent, File, Folder, FrameKind, ObjectKey, RepositoryId, Seal,
    StoredConfig, frame, limits,
};
use crate::storage::Storage;

use ahead::Ahead;
use blocks::BlockCache;
use chunks::ChunkReader;
use content::ContentReader;
use counters::{CountedStorage, Counters};
use error::InObject;
use heal::Healer;
use index::Index;
use trees::Trees;
use vault::Vault;

/// How to open a repository.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Folder for opened index segments; a folder per repository is made below it. `None` keeps
    /// them in memory.
    pub cache: Option<PathBuf>,
    /// Decoded blocks kept in memory, in bytes.
    pub block_cache_bytes: usize,
    /// How long a session of this process may be silent before a prune takes it for dead: it beats
    /// four times as often.
    pub session_timeout: Duration,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { cache: None, block_cache_bytes: 128 << 20, session_timeout: SESSION_TIMEOUT }
    }
}

/// What a new repository is to be like.
#[derive(Debug, Clone, Copy)]
pub struct InitOptions {
    /// Sizes of content-defined chunks.
    pub chunking: Chunking,
    /// Work that a passphrase costs.
    pub cost: KdfCost,
}

impl Default for InitOptions {
    fn default() -> Self {
        Self { chunking: Chunking::DEFAULT, cost: KdfCost::DEFAULT }
    }
}

/// An opened repository; cheap to share between threads by reference.
#[derive(Debug)]
pub struct Repository {
    config: Config,
    chunks: ChunkReader,
    trees: Trees,
    content: ContentReader,
    session_timeout: Duration,
    rules: Rules,
    /// The folder of this repository below that of [`OpenOptions::cache`].
    cache_folder: Option<PathBuf>,
}

impl Repository {
    /// Makes a repository: a key slot first, the config last, so that a config is never without
    /// its key. `secret` of `None` makes one without encryption.
    pub fn init(
        storage: &dyn Storage,
        secret: Option<&Secret>,
        label: &str,
        options: InitOptions,
    ) -> Result<Config> {
        let master = secret.map(|_| MasterKey::generate()).transpose()?;
        Self::init_under(storage, secret.zip(master.as_ref()), label, options)
    }

    /// Makes a repository that cuts content as `like` does. Where both are encrypted it gets the
    /// same master key, so that equal bytes have equal ids in both; its secret may be another.
    pub fn init_like(
        storage: &dyn Storage,
        like: &Self,
        secret: Option<&Secret>,
        label: &str,
        cost: KdfCost,
    ) -> Result<Config> {
        let options = InitOptions { chunking: like.config.chunking, cost };
        match (secret, like.vault().master()) {
            (Some(secret), Some(master)) => {
                Self::init_under(storage, Some((secret, master)), label, options)
            }
            _ => Self::init(storage, secret, label, options),
        }
    }

    fn init_under(
        storage: &dyn Storage,
        secret: Option<(&Secret, &MasterKey)>,
        label: &str,
        options: InitOptions,
    ) -> Result<Config> {
        match storage.len(&ObjectKey::Config) {
            Ok(_) => return Err(RepoError::RepositoryExists { location: storage.location() }),
            Err(err) if err.is_not_found() => refuse_remains(storage)?,
            Err(err) => return Err(err.into()),
        }
        let config = Config {
            format: limits::FORMAT_VERSION,
            repository: RepositoryId(random()?),
            created: crate::clock::now(),
            encrypted: secret.is_some(),
            chunking: options.chunking,
        };
        let mut mac = [0; 32];
        let mut slot = None;
        if let Some((secret, master)) = secret {
            let (id, cost) = (config.repository, options.cost);
            slot = Some(keys::add_slot(storage, id, master, secret, label, cost)?);
            mac = config_mac(master, &config);
        }
        let stored = StoredConfig { config: config.clone(), mac };
        let bytes = frame::encode(FrameKind::Config, Seal::Plain, &stored.encode());
        match storage.put_new(&ObjectKey::Config, &bytes) {
            // Somebody was faster; our key opens nothing.
            Err(err) if err.is_already_exists() => {
                if let Some(slot) = slot {
                    storage.delete(&ObjectKey::Key(slot))?;
                }
                Err(RepoError::RepositoryExists { location: storage.location() })
            }
            result => result.map(|()| config).map_err(Into::into),
        }
    }

    /// Reads the config without a key: says whether one is needed.
    pub fn read_config(storage: &dyn Storage) -> Result<StoredConfig> {
        let object = ObjectKey::Config;
        let max = (limits::CONFIG_MAX + frame::HEADER_LEN) as u64;
        let bytes = match storage.get(&object, max) {
            Err(err) if err.is_not_found() => {
                refuse_remains(storage)?;
                return Err(RepoError::NoRepository { location: storage.location() });
            }
            result => result?,
        };
        let frame = frame::decode(FrameKind::Config, &bytes).in_object(&object)?;
        StoredConfig::decode(frame.payload).in_object(&object)
    }

    /// Opens a repository. Costs a few small reads whatever its size.
    pub fn open(
        storage: Arc<dyn Storage>,
        secret: Option<&Secret>,
        options: &OpenOptions,
    ) -> Result<Self> {
        let stored = Self::read_config(&*storage)?;
        let location = || storage.location();
        let master = match (stored.config.encrypted, secret) {
            (false, None) => None,
            (false, Some(_)) => return Err(RepoError::NotEncrypted { location: location() }),
            (true, None) => return Err(RepoError::KeyNeeded { location: location() }),
            (true, Some(secret)) => {
                Some(keys::open_master(&*storage, stored.config.repository, secret)?)
            }
        };
        Self::open_under(storage, stored, master, options)
    }

    /// Opens a repository with the key that another process of ours has of it
    /// ([`Self::pass_key`]): without the work that a passphrase costs.
    pub fn open_passed(
        storage: Arc<dyn Storage>,
        key: Option<&PassedKey>,
        options: &OpenOptions,
    ) -> Result<Self> {
        let stored = Self::read_config(&*storage)?;
        let location = || storage.location();
        match (stored.config.encrypted, key) {
            (false, Some(_)) => return Err(RepoError::NotEncrypted { location: location() }),
            (true, None) => return Err(RepoError::KeyNeeded { location: location() }),
            _ => {}
        }
        let master = key.map(|key| MasterKey::new(*key.0));
        Self::open_under(storage, stored, master, options)
    }

    /// The key that opens this repository for another process; `None` without encryption. It is
    /// what all slots protect: it goes through a pipe and nowhere else.
    #[must_use]
    pub fn pass_key(&self) -> Option<PassedKey> {
        self.vault().master().map(|master| PassedKey(master.expose()))
    }

    /// What is left once the key is known: that it is the config's, and the index.
    fn open_under(
        storage: Arc<dyn Storage>,
        StoredConfig { config, mac }: StoredConfig,
        master: Option<MasterKey>,
        options: &OpenOptions,
    ) -> Result<Self> {
        let expected = master.as_ref().map_or([0; 32], |master| config_mac(master, &config));
        if blake3::Hash::from_bytes(expected) != blake3::Hash::from_bytes(mac) {
            let what = "its authentication code does not match the key";
            return Err(RepoError::corrupt(ObjectKey::Config, what));
        }
        let cache_folder = options.cache.as_ref().and_then(|folder| {
            let folder = folder.join(config.repository.to_string());
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder.join("index"));
            match made {
                Ok(()) => Some(folder),
                Err(err) => {
                    tracing::warn!("no cache folder {}: {err}", folder.display());
                    None
                }
            }
        });
        let vault = Arc::new(Vault::new(&config, master));
        let counters = Arc::new(Counters::default());
        let storage: Arc<dyn Storage> =
            Arc::new(CountedStorage { inner: storage, counters: Arc::clone(&counters) });
        let cache = cache_folder.as_ref().map(|folder| folder.join("index"));
        let index = Arc::new(Index::new(Arc::clone(&storage), Arc::clone(&vault), cache));
        index.reload()?;
        let cache = Arc::new(BlockCache::new(options.block_cache_bytes));
        let ahead = Arc::new(Ahead::new());
        let healer = Arc::new(Healer::new(Arc::clone(&storage), config.repository));
        let chunks = ChunkReader { storage, vault, index, cache, ahead, counters, healer };
        let (trees, content) = (Trees::new(chunks.clone()), ContentReader::new(chunks.clone()));
        let (session_timeout, rules) = (options.session_timeout, Rules::ALL);
        Ok(Self { config, chunks, trees, content, session_timeout, rules, cache_folder })
    }

    /// Without some of the rules that keep snapshots whole: to prove that each is needed.
    #[cfg(test)]
    pub(crate) const fn with_rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    /// Publishes a segment that no session made.
    #[cfg(test)]
    pub(crate) fn put_segment(&self, body: Vec<u8>) {
        let (id, stored) = index::seal(self.vault(), &body).unwrap();
        self.storage().put_new(&ObjectKey::Segment(id), &stored).unwrap();
    }

    /// Which rules hold.
    pub(crate) const fn rules(&self) -> Rules {
        self.rules
    }

    /// The repository's config.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// For messages: where it is.
    #[must_use]
    pub fn location(&self) -> String {
        self.chunks.storage.location()
    }

    /// What was read since it was opened.
    #[must_use]
    pub fn read_counts(&self) -> ReadCounts {
        self.chunks.counters.now()
    }

    /// The folder of this machine that holds the objects of `folder`, where there is one.
    #[must_use]
    pub fn folder_path(&self, folder: Folder) -> Option<PathBuf> {
        self.storage().folder_path(folder)
    }

    pub(crate) fn storage(&self) -> &dyn Storage {
        &*self.chunks.storage
    }

    pub(crate) fn vault(&self) -> &Vault {
        &self.chunks.vault
    }

    pub(crate) fn index(&self) -> &Index {
        &self.chunks.index
    }

    /// Seed of the content-defined chunker: secret where the repository is encrypted.
    #[must_use]
    pub fn chunker_seed(&self) -> u64 {
        self.vault().chunker_seed()
    }

    /// Verified bytes of a chunk.
    pub fn chunk(&self, id: &ChunkId) -> Result<Chunk> {
        self.chunks.get(id)
    }

    /// What a new version of a chunk may be told from: the chunk, where it is stored itself, or its
    /// own base. `None` where the index does not know it.
    pub(crate) fn base_of(&self, id: &ChunkId) -> Result<Option<BaseChunk>> {
        let places = self.index().places(id)?;
        let old = !places.iter().any(|place| place.base.is_none());
        let base = if old { places.iter().find_map(|place| place.base) } else { Some(*id) };
        let Some(id) = base else { return Ok(None) };
        Ok(Some(BaseChunk { id, bytes: self.chunks.base(&id, None)?, old }))
    }

    /// A share in the queue of blocks that are likely to be read next, which are to be given to
    /// [`Self::read_ahead`] by threads of the caller's. Nothing is queued where nobody has one.
    #[must_use]
    pub fn start_read_ahead(&self) -> AheadQueue {
        self.chunks.ahead.start()
    }

    /// Decodes and checks blocks into the cache. What cannot be read is left to who reads it.
    pub fn read_ahead(&self, next: &NextBlocks) {
        self.chunks.read_ahead(next);
    }

    /// Whether the same bytes have the same id in both: both are plain, or have one master key.
    #[must_use]
    pub fn shares_ids_with(&self, other: &Self) -> bool {
        self.vault().shares_ids_with(other.vault())
    }

    /// Whether the index knows a chunk.
    pub fn has_chunk(&self, id: &ChunkId) -> Result<bool> {
        self.index().contains(id)
    }

    /// One page of a directory.
    pub fn page(&self, id: &ChunkId) -> Result<Page> {
        self.trees.page(id)
    }

    /// The one tree page whose id is not below `first` and `fits`; ids that fit begin with at least
    /// the first 24 bits of it. `None` where there is none, or more than one. Reads the index only.
    pub fn only_page(&self, first: &ChunkId, fits: impl Fn(&ChunkId) -> bool) -> Option<ChunkId> {
        self.index().only_page(first, fits)
    }

    /// One page on the way down a directory: it must keep what the pages above it promise.
    pub fn page_at(&self, at: &PageAt) -> Result<Page> {
        self.trees.page_at(at)
    }

    /// The entry of that name in the directory whose top page is `page`.
    pub fn lookup(&self, page: Option<ChunkId>, name: &[u8]) -> Result<Option<NodeRef>> {
        self.trees.lookup(page, name)
    }

    /// The leaf that holds the entry at `position`, counted in name order, of the directory whose
    /// top page is `page`; `None` past the last entry. Costs one page per level.
    pub fn leaf_at(&self, page: Option<ChunkId>, position: u64) -> Result<Option<LeafAt>> {
        self.trees.leaf_at(page, position)
    }

    /// Stored bytes of all packs that the index knows. Reads nothing: the index has the lengths.
    #[must_use]
    pub fn stored_len(&self) -> u64 {
        self.index().stored_len()
    }

    /// All entries, in name order, of the directory whose top page is `page`.
    #[must_use]
    pub fn entries(&self, page: Option<ChunkId>) -> Entries<'_> {
        self.trees.entries(page)
    }

    /// Fills `buf` from a file's logical `offset`; fewer bytes than asked for only at its end.
    pub fn read_at(&self, file: &File, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.content.read_at(file, offset, buf)
    }

    /// The chunk or hole that holds a file's logical `offset`; `None` past the end and for content
    /// that is in the node.
    pub fn extent_at(&self, file: &File, offset: u64) -> Result<Option<Placed>> {
        self.content.extent_at(file, offset)
    }

    /// What a page of a file's extents lists, as `extent` refers to it from the level above
    /// `level`; those of level 0 are chunks and holes.
    pub fn extents_of(&self, extent: &Extent, level: u8) -> Result<Vec<Extent>> {
        self.content.extents_of(extent, level)
    }

    /// All records of the index, after another look at the storage.
    pub fn index_records(&self) -> Result<Records> {
        self.index().records()
    }

    /// Where data (or, with `hole`, a hole) next starts at or after `offset`, as lseek(2) means it;
    /// `None` is ENXIO.
    pub fn seek(&self, file: &File, offset: u64, hole: bool) -> Result<Option<u64>> {
        self.content.seek(file, offset, hole)
    }
}

/// Says so where a config is missing and what it described is there. A lone key slot is what an
/// interrupted `init` leaves, and no obstacle to the next one.
fn refuse_remains(storage: &dyn Storage) -> Result<()> {
    let remains = [Folder::Snapshots, Folder::Index, Folder::Meta, Folder::Data];
    for folder in remains {
        if !storage.list(folder)?.is_empty() {
            return Err(RepoError::ConfigMissing { location: storage.location() });
        }
    }
    Ok(())
}

fn config_mac(master: &MasterKey, config: &Config) -> [u8; 32] {
    *blake3::keyed_hash(&master.derive(SubKey::Config), &config.encode()).as_bytes()
}
