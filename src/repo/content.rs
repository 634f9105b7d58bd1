//! Content of files: extent lists in and out, and reads at any offset.
//!
//! [`ExtentsWriter`] builds a list of any length in little memory. [`ContentReader`] finds the
//! extent of an offset in time that grows with the logarithm of the file's length, so a file of a
//! terabyte opens at once.

use std::sync::{Arc, Mutex};

use crate::format::{ChunkId, Content, Extent, ExtentPage, File, extent_cut_after, limits};

use crate::sync::lock;

use super::chunks::{ChunkReader, Neighbours};
use super::directory::PutPage;
use super::error::{RepoError, Result};
use super::weighted::WeightedLru;

/// Extents that a node lists itself; more go to pages.
const NODE_EXTENTS_MAX: usize = 64;
const PAGE_EXTENTS_MIN: usize = NODE_EXTENTS_MAX;

/// Builds a file's extent list in file order.
#[derive(Debug, Default)]
pub struct ExtentsWriter {
    levels: Vec<Vec<Extent>>,
}

impl ExtentsWriter {
    /// Adds the next extent; neighbouring holes become one.
    pub fn push(&mut self, extent: Extent, pages: &mut dyn PutPage) -> Result<()> {
        if extent.is_hole()
            && let Some(last) = self.levels.first_mut().and_then(|list| list.last_mut())
            && last.is_hole()
        {
            last.len += extent.len;
            return Ok(());
        }
        self.push_at(0, extent, pages)
    }

    fn push_at(&mut self, level: usize, extent: Extent, pages: &mut dyn PutPage) -> Result<()> {
        if self.levels.len() <= level {
            self.levels.push(Vec::new());
        }
        let Some(list) = self.levels.get_mut(level) else { return Ok(()) };
        list.push(extent);
        let cut = (list.len() >= PAGE_EXTENTS_MIN && extent_cut_after(&extent))
            || list.len() >= limits::EXTENTS_MAX;
        if cut { self.close(level, pages) } else { Ok(()) }
    }

    fn close(&mut self, level: usize, pages: &mut dyn PutPage) -> Result<()> {
        let Some(extents) = self.levels.get_mut(level).map(std::mem::take) else { return Ok(()) };
        let len = extents.iter().map(|extent| extent.len).sum();
        let page = ExtentPage { level: level as u8, extents };
        let id = pages.put_page(&page.encode(), None)?;
        self.push_at(level + 1, Extent { id, len }, pages)
    }

    /// Closes the open pages until a node can list what is left.
    pub fn finish(mut self, pages: &mut dyn PutPage) -> Result<Content> {
        let mut level = 0;
        loop {
            let above_empty = self.levels.iter().skip(level + 1).all(Vec::is_empty);
            let list = self.levels.get_mut(level).map(std::mem::take).unwrap_or_default();
            if above_empty && list.len() <= NODE_EXTENTS_MAX {
                return Ok(Content::Extents { level: level as u8, extents: list });
            }
            if !list.is_empty() {
                if let Some(slot) = self.levels.get_mut(level) {
                    *slot = list;
                }
                self.close(level, pages)?;
            }
            level += 1;
        }
    }
}

/// An extent at its place in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Logical offset of its first byte.
    pub offset: u64,
    /// The chunk or hole.
    pub extent: Extent,
}

/// A page with the end of each extent, for binary search.
#[derive(Debug)]
struct IndexedPage {
    ends: Vec<u64>,
    extents: Vec<Extent>,
}

impl IndexedPage {
    fn new(extents: Vec<Extent>) -> Self {
        let mut sum = 0;
        let ends = extents.iter().map(|extent| {
            sum += extent.len;
            sum
        });
        Self { ends: ends.collect(), extents }
    }

    /// The extent that holds `offset`, and where it starts; both relative to the page.
    fn find(&self, offset: u64) -> Option<Placed> {
        let at = self.ends.partition_point(|&end| end <= offset);
        let extent = *self.extents.get(at)?;
        Some(Placed { offset: self.ends.get(at)? - extent.len, extent })
    }
}

/// Plain bytes of the extent pages that are kept: enough for the top of many large files.
const PAGE_BYTES_CACHED: usize = 16 << 20;

/// Reads of at most this many bytes from files of at least that many are taken for reads here and
/// there: who goes through a file asks for more at a time, or has the kernel do so.
const HERE_AND_THERE: (usize, u64) = (32 << 10, 1 << 20);

/// A page and what its reference says of it, level and length: a page was checked against those.
type PageKey = (ChunkId, u8, u64);

/// Reads files of one repository.
#[derive(Debug)]
pub(crate) struct ContentReader {
    chunks: ChunkReader,
    pages: Mutex<WeightedLru<PageKey, Arc<IndexedPage>>>,
}

impl ContentReader {
    pub(crate) fn new(chunks: ChunkReader) -> Self {
        Self { chunks, pages: Mutex::new(WeightedLru::new(PAGE_BYTES_CACHED)) }
    }

    fn page(&self, extent: &Extent, level: u8) -> Result<Arc<IndexedPage>> {
        let id = extent.id;
        let key = (id, level, extent.len);
        let cached = lock(&self.pages).get(&key).cloned();
        if let Some(page) = cached {
            return Ok(page);
        }
        let bytes = self.chunks.get(&id)?;
        let page = ExtentPage::decode(&bytes, level, extent.len)
            .map_err(|err| RepoError::malformed(format!("extent page {id}"), err))?;
        let page = Arc::new(IndexedPage::new(page.extents));
        lock(&self.pages).put(key, Arc::clone(&page), bytes.len());
        Ok(page)
    }

    /// The extents of a page of them at `level`; level 0 lists chunks.
    pub(crate) fn extents_of(&self, extent: &Extent, level: u8) -> Result<Vec<Extent>> {
        Ok(self.page(extent, level)?.extents.clone())
    }

    /// The chunk or hole that holds `offset`; `None` past the end and for inline content.
    pub(crate) fn extent_at(&self, file: &File, offset: u64) -> Result<Option<Placed>> {
        let Content::Extents { level, extents } = &file.content else { return Ok(None) };
        let (mut level, mut base) = (*level, 0);
        let mut found = find_in(extents, offset);
        loop {
            let Some(placed) = found else { return Ok(None) };
            base += placed.offset;
            if level == 0 {
                return Ok(Some(Placed { offset: base, extent: placed.extent }));
            }
            level -= 1;
            found = self.page(&placed.extent, level)?.find(offset - base);
        }
    }

    /// Fills `buf` from `offset`; returns how many bytes there were (fewer only at the end).
    pub(crate) fn read_at(&self, file: &File, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let wanted = file.size.saturating_sub(offset).min(buf.len() as u64) as usize;
        let Some(buf) = buf.get_mut(..wanted) else { return Ok(0) };
        if let Content::Inline(bytes) = &file.content {
            let start = (offset as usize).min(bytes.len());
            if let Some(from) = bytes.get(start..start + wanted) {
                buf.copy_from_slice(from);
            }
            return Ok(wanted);
        }
        let (most, least) = HERE_AND_THERE;
        let here_and_there = wanted <= most && file.size >= least;
        let neighbours = if here_and_there { Neighbours::Unwanted } else { Neighbours::Wanted };
        let mut done = 0;
        while done < wanted {
            let at = offset + done as u64;
            let Some(placed) = self.extent_at(file, at)? else { break };
            let skip = at - placed.offset;
            let count = (placed.extent.len - skip).min((wanted - done) as u64) as usize;
            let Some(part) = buf.get_mut(done..done + count) else { break };
            self.fill(&placed.extent, skip as usize, neighbours, part)?;
            done += count;
        }
        Ok(done)
    }

    fn fill(
        &self,
        extent: &Extent,
        skip: usize,
        neighbours: Neighbours,
        part: &mut [u8],
    ) -> Result<()> {
        if extent.is_hole() {
            part.fill(0);
            return Ok(());
        }
        let chunk = self.chunks.get_with(&extent.id, neighbours)?;
        match chunk.get(skip..skip + part.len()) {
            Some(bytes) if chunk.len() as u64 == extent.len => {
                part.copy_from_slice(bytes);
                Ok(())
            }
            _ => {
                let what = format!("holds {} bytes where {} are listed", chunk.len(), extent.len);
                Err(RepoError::corrupt(format!("chunk {}", extent.id), what))
            }
        }
    }

    /// Where data (or a hole) next starts at or after `offset`, as `lseek` means it: the end of
    /// the file counts as a hole; `None` is ENXIO.
    pub(crate) fn seek(&self, file: &File, offset: u64, hole: bool) -> Result<Option<u64>> {
        if offset >= file.size {
            return Ok(None);
        }
        if file.data == file.size {
            return Ok(Some(if hole { file.size } else { offset }));
        }
        let mut at = offset;
        while at < file.size {
            let Some(placed) = self.extent_at(file, at)? else {
                return Ok(Some(if hole { file.size } else { at }));
            };
            if placed.extent.is_hole() == hole {
                return Ok(Some(at));
            }
            at = placed.offset + placed.extent.len;
        }
        Ok(hole.then_some(file.size))
    }
}

fn find_in(extents: &[Extent], offset: u64) -> Option<Placed> {
    let mut start = 0;
    for extent in extents {
        if offset < start + extent.len {
            return Some(Placed { offset: start, extent: *extent });
        }
        start += extent.len;
    }
    None
}
