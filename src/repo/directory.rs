//! Directories into pages.
//!
//! [`DirectoryWriter`] takes nodes in name order and cuts pages as it goes, so a directory of a
//! million entries needs memory for one page per level. Where the nodes of a stored leaf come again
//! as they are, all of them and from its start, its page is named again instead of being encoded
//! and hashed once more: an ingest without changes does none of that.

use std::collections::HashMap;
use std::sync::Arc;

use crate::format::{
    Body, ChunkId, Content, Leaf, Node, Owner, PageRef, Totals, TreePage, limits, tree_cut_after,
};

use super::error::Result;
use super::trees::NodeRef;

/// Entries that a leaf has at least, so that small directories are one page.
const LEAF_ENTRIES_MIN: usize = 32;
const INNER_ENTRIES_MIN: usize = 4;

/// Takes an encoded page and gives its id; the session's part.
pub trait PutPage {
    /// Stores one page and returns its chunk id. `like` is a stored page that it has much in common
    /// with, where there is one.
    fn put_page(&mut self, bytes: &[u8], like: Option<&ChunkId>) -> Result<ChunkId>;

    /// Whether a page is stored and may be named again.
    fn has_page(&mut self, id: &ChunkId) -> bool;
}

/// Nodes from the start of a stored leaf, in a row, as they are there.
#[derive(Debug)]
struct Kept {
    leaf: Arc<Leaf>,
    page: ChunkId,
    count: usize,
}

impl Kept {
    fn is_whole(&self) -> bool {
        self.count == self.leaf.nodes.len()
    }

    /// Whether the leaf was closed for what it holds, not because the directory ended with it.
    fn is_cut(&self) -> bool {
        let bytes = self.leaf.nodes.iter().map(encoded_size).sum();
        let last = self.leaf.nodes.last();
        last.is_some_and(|last| is_cut_after(&last.name, self.count, bytes))
    }
}

/// Whether a leaf of so many entries and bytes ends with the entry of this name.
fn is_cut_after(name: &[u8], count: usize, bytes: usize) -> bool {
    (count >= LEAF_ENTRIES_MIN && tree_cut_after(name, 0))
        || count >= limits::PAGE_ENTRIES_MAX
        || bytes >= limits::PAGE_TARGET_MAX
}

/// Builds one directory from nodes in name order.
#[derive(Debug, Default)]
pub struct DirectoryWriter {
    /// Where this is set, `leaf` is empty.
    kept: Option<Kept>,
    leaf: Leaf,
    /// The stored leaf that nodes of this one come from.
    like: Option<ChunkId>,
    owners: HashMap<Owner, u32>,
    leaf_bytes: usize,
    inner: Vec<Vec<PageRef>>,
    entries: u64,
    totals: Totals,
}

/// What a directory's node says of its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrittenDirectory {
    /// The top page; `None` when empty.
    pub page: Option<ChunkId>,
    /// Direct entries.
    pub entries: u64,
    /// Sums of all below.
    pub totals: Totals,
}

impl From<WrittenDirectory> for Body {
    fn from(written: WrittenDirectory) -> Self {
        let WrittenDirectory { page, entries, totals } = written;
        Self::Directory { page, entries, totals }
    }
}

impl DirectoryWriter {
    /// Adds a node; names must come in ascending byte order.
    pub fn push(&mut self, node: Node, owner: &Owner, pages: &mut dyn PutPage) -> Result<()> {
        self.unpack_kept(pages)?;
        self.add(node, owner, pages)
    }

    /// Adds a node of a stored directory as it is there.
    pub fn push_kept(&mut self, node: &NodeRef, pages: &mut dyn PutPage) -> Result<()> {
        match (&mut self.kept, node.page) {
            (Some(kept), Some(page)) if kept.page == page && kept.count == node.number => {
                kept.count += 1;
            }
            (_, page) => {
                self.unpack_kept(pages)?;
                let Some(page) = page.filter(|_| node.number == 0 && self.leaf.nodes.is_empty())
                else {
                    self.like = self.like.or(page);
                    return self.add(Node::clone(node), node.owner(), pages);
                };
                self.kept = Some(Kept { leaf: Arc::clone(&node.leaf), page, count: 1 });
            }
        }
        match self.kept.take_if(|kept| kept.is_whole() && kept.is_cut()) {
            Some(kept) => self.keep_leaf(kept, pages),
            None => Ok(()),
        }
    }

    /// Names a stored leaf again, or makes it anew where it cannot be relied on.
    fn keep_leaf(&mut self, kept: Kept, pages: &mut dyn PutPage) -> Result<()> {
        let nodes = &kept.leaf.nodes;
        let (Some(first), Some(last)) = (nodes.first(), nodes.last()) else { return Ok(()) };
        if !pages.has_page(&kept.page) {
            self.kept = Some(kept);
            return self.unpack_kept(pages);
        }
        for node in nodes {
            self.totals.add(&node.body);
        }
        let entries = nodes.len() as u64;
        self.entries += entries;
        let page = PageRef { first: first.name.clone(), page: kept.page, entries };
        self.push_ref(0, page, &last.name, pages)
    }

    /// Goes on as if the kept nodes had come one by one.
    fn unpack_kept(&mut self, pages: &mut dyn PutPage) -> Result<()> {
        let Some(Kept { leaf, count, page }) = self.kept.take() else { return Ok(()) };
        self.like = self.like.or(Some(page));
        for node in leaf.nodes.iter().take(count) {
            if let Some(owner) = leaf.owner(node) {
                self.add(node.clone(), owner, pages)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, mut node: Node, owner: &Owner, pages: &mut dyn PutPage) -> Result<()> {
        debug_assert!(self.leaf.nodes.last().is_none_or(|last| last.name < node.name));
        self.totals.add(&node.body);
        self.entries += 1;
        node.owner = self.owner_number(owner);
        self.leaf_bytes += encoded_size(&node);
        let count = self.leaf.nodes.len() + 1;
        let cut = is_cut_after(&node.name, count, self.leaf_bytes);
        self.leaf.nodes.push(node);
        if cut { self.close_leaf(pages) } else { Ok(()) }
    }

    fn owner_number(&mut self, owner: &Owner) -> u32 {
        if let Some(&number) = self.owners.get(owner) {
            return number;
        }
        let number = self.leaf.owners.len() as u32;
        self.leaf.owners.push(owner.clone());
        self.owners.insert(owner.clone(), number);
        number
    }

    fn close_leaf(&mut self, pages: &mut dyn PutPage) -> Result<()> {
        self.owners.clear();
        self.leaf_bytes = 0;
        let like = self.like.take();
        let leaf = std::mem::take(&mut self.leaf);
        let (Some(first), Some(last)) = (leaf.nodes.first(), leaf.nodes.last()) else {
            return Ok(());
        };
        let (first, last) = (first.name.clone(), last.name.clone());
        let entries = leaf.nodes.len() as u64;
        let page = pages.put_page(&TreePage::Leaf(leaf).encode(), like.as_ref())?;
        self.push_ref(0, PageRef { first, page, entries }, &last, pages)
    }

    /// Adds a page to the level above; `last` is the last name below it, which decides cuts.
    fn push_ref(
        &mut self,
        level: usize,
        page: PageRef,
        last: &[u8],
        pages: &mut dyn PutPage,
    ) -> Result<()> {
        if self.inner.len() <= level {
            self.inner.push(Vec::new());
        }
        let Some(refs) = self.inner.get_mut(level) else { return Ok(()) };
        refs.push(page);
        let cut = (refs.len() >= INNER_ENTRIES_MIN && tree_cut_after(last, level as u8 + 1))
            || refs.len() >= limits::PAGE_ENTRIES_MAX;
        if cut { self.close_inner(level, last, pages) } else { Ok(()) }
    }

    fn close_inner(&mut self, level: usize, last: &[u8], pages: &mut dyn PutPage) -> Result<()> {
        let Some(refs) = self.inner.get_mut(level).map(std::mem::take) else { return Ok(()) };
        let Some(first) = refs.first().map(|page| page.first.clone()) else { return Ok(()) };
        let entries = refs.iter().map(|page| page.entries).sum();
        let page = pages.put_page(&TreePage::Inner(refs).encode(), None)?;
        self.push_ref(level + 1, PageRef { first, page, entries }, last, pages)
    }

    /// Closes the open pages up to a single one.
    pub fn finish(mut self, pages: &mut dyn PutPage) -> Result<WrittenDirectory> {
        let kept = self.kept.as_ref().and_then(|kept| kept.leaf.nodes.get(kept.count - 1));
        let last = kept.or_else(|| self.leaf.nodes.last());
        let last = last.map(|node| node.name.clone()).unwrap_or_default();
        match self.kept.take_if(|kept| kept.is_whole()) {
            Some(kept) => self.keep_leaf(kept, pages)?,
            None => self.unpack_kept(pages)?,
        }
        self.close_leaf(pages)?;
        let mut level = 0;
        let page = loop {
            let above_empty = self.inner.iter().skip(level + 1).all(Vec::is_empty);
            match self.inner.get(level).map(Vec::as_slice) {
                None => break None,
                Some([only]) if above_empty => break Some(only.page),
                Some([]) => {}
                Some(_) => self.close_inner(level, &last, pages)?,
            }
            level += 1;
        };
        Ok(WrittenDirectory { page, entries: self.entries, totals: self.totals })
    }
}

/// About how many bytes a node takes in a page; used for cuts only, so it must not change.
fn encoded_size(node: &Node) -> usize {
    let xattrs: usize = node.xattrs.iter().map(|x| 16 + x.name.len() + x.value.len()).sum();
    let body = match &node.body {
        Body::File(file) => match &file.content {
            Content::Inline(bytes) => 80 + bytes.len(),
            Content::Extents { extents, .. } => 80 + 40 * extents.len(),
        },
        Body::Symlink { target } => 8 + target.len(),
        _ => 100,
    };
    120 + node.name.len() + xattrs + body
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pages by id, and how many were put.
    #[derive(Default)]
    struct Pages {
        stored: HashMap<ChunkId, Vec<u8>>,
        put: usize,
    }

    impl PutPage for Pages {
        fn put_page(&mut self, bytes: &[u8], _like: Option<&ChunkId>) -> Result<ChunkId> {
            let id = ChunkId(*blake3::hash(bytes).as_bytes());
            self.stored.insert(id, bytes.to_vec());
            self.put += 1;
            Ok(id)
        }

        fn has_page(&mut self, id: &ChunkId) -> bool {
            self.stored.contains_key(id)
        }
    }

    impl Pages {
        /// All nodes below a page, in order.
        fn nodes(&self, page: ChunkId) -> Vec<NodeRef> {
            match TreePage::decode(&self.stored[&page]).unwrap() {
                TreePage::Inner(refs) => refs.iter().flat_map(|r| self.nodes(r.page)).collect(),
                TreePage::Leaf(leaf) => {
                    let leaf = Arc::new(leaf);
                    let node = |n| NodeRef::new(Arc::clone(&leaf), Some(page), n).unwrap();
                    (0..leaf.nodes.len()).map(node).collect()
                }
            }
        }
    }

    impl Pages {
        /// How many pages from here on down list pages.
        fn inner(&self, page: ChunkId) -> usize {
            match TreePage::decode(&self.stored[&page]).unwrap() {
                TreePage::Inner(refs) => 1 + refs.iter().map(|r| self.inner(r.page)).sum::<usize>(),
                TreePage::Leaf(_) => 0,
            }
        }
    }

    fn owner(uid: u32) -> Owner {
        Owner { uid, gid: 0, user: String::new(), group: String::new() }
    }

    fn node(number: usize, secs: i64) -> Node {
        let mtime = crate::format::Time { secs, nanos: 0 };
        Node {
            name: format!("{number:05}").into_bytes(),
            mode: 0o644,
            owner: 0,
            mtime,
            ctime: mtime,
            atime: None,
            btime: None,
            inode: number as u64,
            link: None,
            xattrs: Vec::new(),
            unstable: false,
            body: Body::Fifo,
        }
    }

    proptest! {
        #[test]
        fn kept_nodes_make_the_same_pages_as_pushed_ones(
            count in 0_usize..2500,
            changed in prop::collection::vec((0_usize..2500, 0_u8..3), 0..12),
            lost in any::<bool>(),
        ) {
            let mut pages = Pages::default();
            let mut writer = DirectoryWriter::default();
            for number in 0..count {
                writer.push(node(number, 0), &owner(number as u32 / 700), &mut pages).unwrap();
            }
            let before = writer.finish(&mut pages).unwrap();
            let old = before.page.map(|page| pages.nodes(page)).unwrap_or_default();
            prop_assert_eq!(old.len(), count);

            let (mut kept, mut pushed) = (DirectoryWriter::default(), DirectoryWriter::default());
            let mut others = Pages::default();
            if lost {
                pages.stored.clear();
            }
            pages.put = 0;
            for prior in &old {
                let what = changed.iter().find(|(at, _)| *at as u64 == prior.inode);
                match what {
                    // Removed, changed, or kept.
                    Some((_, 0)) => continue,
                    Some((_, 1)) => {
                        let new = node(prior.inode as usize, 1);
                        kept.push(new.clone(), prior.owner(), &mut pages).unwrap();
                        pushed.push(new, prior.owner(), &mut others).unwrap();
                        continue;
                    }
                    _ => kept.push_kept(prior, &mut pages).unwrap(),
                }
                pushed.push(Node::clone(prior), prior.owner(), &mut others).unwrap();
            }
            let (kept, pushed) =
                (kept.finish(&mut pages).unwrap(), pushed.finish(&mut others).unwrap());
            prop_assert_eq!(kept, pushed);
            if changed.is_empty() && !lost {
                prop_assert_eq!(kept, before);
                // Leaves are named again; what is above them is put together anew.
                prop_assert_eq!(pages.put, before.page.map_or(0, |page| pages.inner(page)));
            }
        }
    }
}
