//! Directories: pages read through a cache, found by name or by position, listed in order.

use std::ops::Deref;
use std::sync::{Arc, Mutex};

use crate::format::{ChunkId, Leaf, Node, Owner, PageRef, TreePage, limits};

use crate::sync::lock;

use super::chunks::ChunkReader;
use super::error::{RepoError, Result};
use super::weighted::WeightedLru;

/// A node in the page that holds it.
#[derive(Debug, Clone)]
pub struct NodeRef {
    pub(super) leaf: Arc<Leaf>,
    /// The page, unless the node is a snapshot's root.
    pub page: Option<ChunkId>,
    /// The node's number in its page.
    pub number: usize,
}

impl Deref for NodeRef {
    type Target = Node;

    fn deref(&self) -> &Node {
        match self.leaf.nodes.get(self.number) {
            Some(node) => node,
            None => unreachable!("made only with a number that is in the page"),
        }
    }
}

impl NodeRef {
    /// A node by its number in a page.
    #[must_use]
    pub fn new(leaf: Arc<Leaf>, page: Option<ChunkId>, number: usize) -> Option<Self> {
        (number < leaf.nodes.len()).then_some(Self { leaf, page, number })
    }

    /// The node's owner.
    #[must_use]
    pub fn owner(&self) -> &Owner {
        match self.leaf.owner(self) {
            Some(owner) => owner,
            None => unreachable!("pages are checked when they are decoded"),
        }
    }
}

/// Plain bytes of the decoded pages that are kept; decoded they take about twice as much.
const PAGE_BYTES_CACHED: usize = 16 << 20;

/// A decoded page; leaves can be shared with their nodes.
#[derive(Debug, Clone)]
pub enum Page {
    /// Nodes.
    Leaf(Arc<Leaf>),
    /// Pages below.
    Inner(Arc<Vec<PageRef>>),
}

/// A page on the way down a directory, with what the pages above it promise of its names.
///
/// A page that does not keep the promise is damage. So the pages of a directory never overlap, and
/// a walk over all of them ends: without that a few pages, each listed a thousand times by the one
/// above, would make a directory that nobody can read to its end.
#[derive(Debug, Clone)]
pub struct PageAt {
    /// The page.
    pub id: ChunkId,
    level: u8,
    /// Its first name; the top page may begin with any.
    first: Option<Vec<u8>>,
    /// All its names are below this one.
    end: Option<Vec<u8>>,
}

impl PageAt {
    /// The top page of a directory.
    #[must_use]
    pub const fn top(id: ChunkId) -> Self {
        Self { id, level: 0, first: None, end: None }
    }

    /// Its first name, as the page above promises it; `None` for the top page.
    pub(super) fn first(&self) -> Option<&[u8]> {
        self.first.as_deref()
    }

    /// The pages that this one lists, where these are its `refs`.
    pub fn below<'a>(&'a self, refs: &'a [PageRef]) -> impl DoubleEndedIterator<Item = Self> + 'a {
        (0..refs.len()).filter_map(|at| self.child(refs, at))
    }

    fn child(&self, refs: &[PageRef], at: usize) -> Option<Self> {
        let child = refs.get(at)?;
        let end = refs.get(at + 1).map(|next| next.first.clone()).or_else(|| self.end.clone());
        let first = Some(child.first.clone());
        Some(Self { id: child.page, level: self.level + 1, first, end })
    }

    fn check(&self, page: &Page) -> Result<()> {
        let ends = match page {
            Page::Leaf(leaf) => {
                leaf.nodes.first().zip(leaf.nodes.last()).map(|(a, z)| (&a.name, &z.name))
            }
            Page::Inner(_) if self.level >= limits::PAGE_LEVELS_MAX => {
                return self.fail("pages are nested too deep");
            }
            Page::Inner(refs) => refs.first().zip(refs.last()).map(|(a, z)| (&a.first, &z.first)),
        };
        let Some((first, last)) = ends else { return self.fail("it lists nothing") };
        if self.first.as_ref().is_some_and(|promised| promised != first) {
            return self.fail("its first name is not the one that the page above states");
        }
        if self.end.as_ref().is_some_and(|end| end <= last) {
            return self.fail("its names go beyond those of the page after it");
        }
        Ok(())
    }

    fn fail(&self, what: &str) -> Result<()> {
        Err(RepoError::corrupt(format!("tree page {}", self.id), what))
    }
}

/// A leaf of a directory, found by the position of an entry in it.
#[derive(Debug, Clone)]
pub struct LeafAt {
    /// The nodes.
    pub leaf: Arc<Leaf>,
    /// The page.
    pub page: ChunkId,
    /// Position in the directory of the leaf's first node.
    pub first: u64,
}

/// Reads directories of one repository.
#[derive(Debug)]
pub(crate) struct Trees {
    pub(crate) chunks: ChunkReader,
    pages: Mutex<WeightedLru<ChunkId, Page>>,
}

impl Trees {
    pub(crate) fn new(chunks: ChunkReader) -> Self {
        Self { chunks, pages: Mutex::new(WeightedLru::new(PAGE_BYTES_CACHED)) }
    }

    /// One page, decoded and checked.
    pub(crate) fn page(&self, id: &ChunkId) -> Result<Page> {
        let cached = lock(&self.pages).get(id).cloned();
        if let Some(page) = cached {
            return Ok(page);
        }
        let bytes = self.chunks.get(id)?;
        let page = match TreePage::decode(&bytes)
            .map_err(|err| RepoError::malformed(format!("tree page {id}"), err))?
        {
            TreePage::Leaf(leaf) => Page::Leaf(Arc::new(leaf)),
            TreePage::Inner(refs) => Page::Inner(Arc::new(refs)),
        };
        lock(&self.pages).put(*id, page.clone(), bytes.len());
        Ok(page)
    }

    /// The same on the way down a directory.
    pub(crate) fn page_at(&self, at: &PageAt) -> Result<Page> {
        let page = self.page(&at.id)?;
        at.check(&page)?;
        Ok(page)
    }

    /// The entry of that name in the directory whose top page is `page`.
    pub(crate) fn lookup(&self, page: Option<ChunkId>, name: &[u8]) -> Result<Option<NodeRef>> {
        let Some(mut at) = page.map(PageAt::top) else { return Ok(None) };
        loop {
            match self.page_at(&at)? {
                Page::Leaf(leaf) => {
                    let found = leaf.nodes.binary_search_by(|n| n.name.as_slice().cmp(name)).ok();
                    return Ok(found.and_then(|number| NodeRef::new(leaf, Some(at.id), number)));
                }
                Page::Inner(refs) => {
                    let after = refs.partition_point(|page| page.first.as_slice() <= name);
                    let below = after.checked_sub(1).and_then(|number| at.child(&refs, number));
                    let Some(below) = below else { return Ok(None) };
                    at = below;
                }
            }
        }
    }

    /// The leaf that holds the entry at `position` (in name order, from 0); `None` past the end.
    pub(crate) fn leaf_at(&self, page: Option<ChunkId>, position: u64) -> Result<Option<LeafAt>> {
        let Some(mut at) = page.map(PageAt::top) else { return Ok(None) };
        let mut first = 0;
        loop {
            match self.page_at(&at)? {
                Page::Leaf(leaf) => {
                    let holds = position - first < leaf.nodes.len() as u64;
                    if !holds && at.level > 0 {
                        let what = "lists fewer entries than the page above it counts";
                        return Err(RepoError::corrupt(format!("tree page {}", at.id), what));
                    }
                    return Ok(holds.then_some(LeafAt { leaf, page: at.id, first }));
                }
                Page::Inner(refs) => {
                    let number = refs.iter().position(|below| {
                        let holds = position - first < below.entries;
                        first += if holds { 0 } else { below.entries };
                        holds
                    });
                    let below = number.and_then(|number| at.child(&refs, number));
                    let Some(below) = below else { return Ok(None) };
                    at = below;
                }
            }
        }
    }

    /// All entries in name order, page by page.
    pub(crate) fn entries(&self, page: Option<ChunkId>) -> Entries<'_> {
        Entries { trees: self, stack: page.map(PageAt::top).into_iter().collect(), leaf: None }
    }
}

/// Entries of one directory; a page is read when its first entry is asked for.
#[derive(Debug)]
pub struct Entries<'t> {
    trees: &'t Trees,
    stack: Vec<PageAt>,
    leaf: Option<(Arc<Leaf>, ChunkId, usize)>,
}

impl Entries<'_> {
    fn step(&mut self) -> Result<Option<NodeRef>> {
        loop {
            if let Some((leaf, id, next)) = &mut self.leaf {
                if let Some(node) = NodeRef::new(Arc::clone(leaf), Some(*id), *next) {
                    *next += 1;
                    return Ok(Some(node));
                }
                self.leaf = None;
            }
            let Some(at) = self.stack.pop() else { return Ok(None) };
            match self.trees.page_at(&at)? {
                Page::Leaf(leaf) => self.leaf = Some((leaf, at.id, 0)),
                Page::Inner(refs) => self.stack.extend(at.below(&refs).rev()),
            }
        }
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<NodeRef>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.stack.clear();
        }
        step.transpose()
    }
}
