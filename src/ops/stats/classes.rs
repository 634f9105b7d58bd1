//! How files are spread over chunk classes.
//!
//! The sums of a directory page are kept once they are known, so that what snapshots share is read
//! once: all snapshots cost as many reads as they have different pages, and 150 bytes for each.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::format::{Body, ChunkClass, ChunkId, Content, File};
use crate::ops::{OpError, Result};
use crate::repo::{NodeRef, Page, PageAt, RepoError, Repository};

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
pub struct ClassCounter<'a> {
    repo: &'a Repository,
    interrupted: &'a AtomicBool,
    pages: HashMap<ChunkId, ClassSums>,
    /// Pages that cannot be read; what lies below them is not counted.
    pub damaged: Vec<RepoError>,
}

/// A page on the way down.
struct Open {
    page: ChunkId,
    below: Vec<PageAt>,
    sums: ClassSums,
}

impl<'a> ClassCounter<'a> {
    /// That knows no page yet.
    #[must_use]
    pub fn new(repo: &'a Repository, interrupted: &'a AtomicBool) -> Self {
        Self { repo, interrupted, pages: HashMap::new(), damaged: Vec::new() }
    }

    /// The sums of an entry and all below it.
    ///
    /// # Errors
    /// Only where it was interrupted.
    pub fn count(&mut self, node: &NodeRef) -> Result<ClassSums> {
        let mut sums = ClassSums::default();
        match &node.body {
            Body::File(file) => sums.add_file(file),
            Body::Directory { page: Some(page), .. } => sums = self.page(*page)?,
            _ => {}
        }
        Ok(sums)
    }

    fn page(&mut self, root: ChunkId) -> Result<ClassSums> {
        if let Some(known) = self.pages.get(&root) {
            return Ok(*known);
        }
        let mut stack = vec![self.open(&PageAt::top(root))];
        loop {
            if self.interrupted.load(Ordering::Relaxed) {
                return Err(OpError::Interrupted);
            }
            let Some(top) = stack.last_mut() else { return Ok(ClassSums::default()) };
            if let Some(below) = top.below.pop() {
                match self.pages.get(&below.id) {
                    Some(known) => top.sums.add(known),
                    None => stack.push(self.open(&below)),
                }
                continue;
            }
            let Some(done) = stack.pop() else { return Ok(ClassSums::default()) };
            self.pages.insert(done.page, done.sums);
            match stack.last_mut() {
                Some(above) => above.sums.add(&done.sums),
                None => return Ok(done.sums),
            }
        }
    }

    fn open(&mut self, at: &PageAt) -> Open {
        let mut open = Open { page: at.id, below: Vec::new(), sums: ClassSums::default() };
        match self.repo.page_at(at) {
            Err(err) => self.damaged.push(err),
            Ok(Page::Inner(refs)) => open.below.extend(at.below(&refs)),
            Ok(Page::Leaf(leaf)) => {
                for node in &leaf.nodes {
                    match &node.body {
                        Body::File(file) => open.sums.add_file(file),
                        Body::Directory { page, .. } => open.below.extend(page.map(PageAt::top)),
                        _ => {}
                    }
                }
            }
        }
        open
    }
}
