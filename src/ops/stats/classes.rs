//! How files are spread over chunk classes. Each different page of all snapshots is read once, and
//! costs 150 bytes.

use std::sync::atomic::AtomicBool;

use crate::format::{Body, ChunkClass, Content, File, Leaf};
use crate::ops::Result;
use crate::ops::pages::{PageWalk, Visit};
use crate::repo::{NodeRef, RepoError, Repository};

/// Files of one class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileSum {
    /// How many.
    pub files: u64,
    /// Their logical bytes.
    pub size: u64,
    /// Their bytes outside holes.
    pub data: u64,
}

/// Files by class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClassSums {
    /// Too small for chunks: inside their nodes, whatever their class.
    pub inline: FileSum,
    /// Cut by content.
    pub default: FileSum,
    /// Cut by content, into longer chunks.
    pub large: FileSum,
    /// Cut at page boundaries.
    pub database: FileSum,
    /// Cut at tensor boundaries.
    pub tensor: FileSum,
}

impl FileSum {
    const fn add(&mut self, other: Self) {
        self.files = self.files.saturating_add(other.files);
        self.size = self.size.saturating_add(other.size);
        self.data = self.data.saturating_add(other.data);
    }
}

impl ClassSums {
    /// The names of the classes, as reports have them, with their sums.
    #[must_use]
    pub const fn by_name(&self) -> [(&'static str, FileSum); 5] {
        [
            ("inline", self.inline),
            ("default", self.default),
            ("large", self.large),
            ("database", self.database),
            ("tensor", self.tensor),
        ]
    }

    /// Adds another's sums.
    pub(super) const fn add(&mut self, other: &Self) {
        self.inline.add(other.inline);
        self.default.add(other.default);
        self.large.add(other.large);
        self.database.add(other.database);
        self.tensor.add(other.tensor);
    }

    const fn add_file(&mut self, file: &File) {
        let sum = FileSum { files: 1, size: file.size, data: file.data };
        match (&file.content, file.class) {
            (Content::Inline(_), _) => self.inline.add(sum),
            (_, ChunkClass::Default) => self.default.add(sum),
            (_, ChunkClass::Large) => self.large.add(sum),
            (_, ChunkClass::Database) => self.database.add(sum),
            (_, ChunkClass::Tensor) => self.tensor.add(sum),
        }
    }
}

/// Sums up directories of one repository.
pub struct ClassCounter<'a>(PageWalk<'a, Counting>);

/// Sums pages; of those that cannot be read, what lies below is not counted.
#[derive(Default)]
struct Counting {
    damaged: Vec<RepoError>,
}

impl<'a> ClassCounter<'a> {
    /// That knows no page yet.
    #[must_use]
    pub fn new(repo: &'a Repository, interrupted: &'a AtomicBool) -> Self {
        Self(PageWalk::new(repo, interrupted, Counting::default()))
    }

    /// The sums of an entry and all below it.
    ///
    /// # Errors
    /// Only where it was interrupted.
    pub fn count(&mut self, node: &NodeRef) -> Result<ClassSums> {
        let mut sums = ClassSums::default();
        match &node.body {
            Body::File(file) => sums.add_file(file),
            Body::Directory { page: Some(page), .. } => sums = self.0.sum(*page)?,
            _ => {}
        }
        Ok(sums)
    }

    /// Pages that could not be read; what lies below them was not counted.
    #[must_use]
    pub fn into_damaged(self) -> Vec<RepoError> {
        self.0.visitor.damaged
    }
}

impl Visit for Counting {
    type Sum = ClassSums;

    fn leaf(&mut self, leaf: &Leaf) -> ClassSums {
        let mut sums = ClassSums::default();
        for node in &leaf.nodes {
            if let Body::File(file) = &node.body {
                sums.add_file(file);
            }
        }
        sums
    }

    fn inner(&mut self) -> ClassSums {
        ClassSums::default()
    }

    fn unread(&mut self, err: RepoError) -> ClassSums {
        self.damaged.push(err);
        ClassSums::default()
    }

    fn add(sum: &mut ClassSums, below: ClassSums) {
        sum.add(&below);
    }
}
