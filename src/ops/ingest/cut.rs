//! Which cutter a file gets: the class that its first bytes, name and size give, or the one that
//! was asked for.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use crate::codec::classes::{self, DATABASE_CHUNK, SNIFF_LEN, TENSOR_CHUNK, UNSIZED};
use crate::codec::{Chunker, Cutter, Layout, ReadChunks, Sniffed, TensorMap};
use crate::format::ChunkClass;
use crate::localfs::GuardedFile;
use crate::repo::Repository;

/// How files are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChunkerChoice {
    /// As each file's class says.
    #[default]
    Auto,
    /// All by content, in chunks of the repository's sizes.
    ContentDefined,
    /// All each so many bytes, 1 to [`crate::format::limits::CHUNK_MAX`]; without a number, as many
    /// as the repository's chunks have on average.
    Fixed(Option<u32>),
    /// All as database files.
    Database,
    /// All as tensor files: at tensors where the header tells them, each MiB elsewhere.
    Tensor,
}

/// A file's cutter, and the class that its node records.
#[derive(Debug, Clone)]
pub(super) struct Cut {
    pub(super) cutter: Arc<Cutter>,
    pub(super) class: ChunkClass,
}

/// The cutters of one ingest.
#[derive(Debug)]
pub(super) struct Cutters {
    choice: ChunkerChoice,
    default: Arc<Cutter>,
    large: Arc<Cutter>,
    /// Every so many bytes, as databases are cut or as was asked for.
    fixed: Arc<Cutter>,
}

impl Cutters {
    pub(super) fn new(repo: &Repository, choice: ChunkerChoice) -> Self {
        let (sizes, seed) = (repo.config().chunking, repo.chunker_seed());
        let by_content = |sizes| Arc::new(Cutter::ContentDefined(Chunker::new(sizes, seed)));
        let fixed = match choice {
            ChunkerChoice::Fixed(len) => len.unwrap_or(sizes.average) as usize,
            _ => DATABASE_CHUNK,
        };
        Self {
            choice,
            default: by_content(sizes),
            large: by_content(classes::large(sizes)),
            fixed: Arc::new(Cutter::Fixed(fixed)),
        }
    }

    /// The longest chunk that any file may get, in bytes.
    pub(super) fn chunk_max(&self) -> usize {
        let usual = [&self.default, &self.large, &self.fixed].map(|cutter| cutter.max());
        usual.into_iter().fold(TENSOR_CHUNK as usize, usize::max)
    }

    /// For content of which nothing can be known before it is read.
    pub(super) fn of_unknown(&self) -> Cut {
        match self.choice {
            ChunkerChoice::Auto | ChunkerChoice::ContentDefined => self.cut(Layout::Default),
            ChunkerChoice::Fixed(_) | ChunkerChoice::Database => self.cut(Layout::Database),
            ChunkerChoice::Tensor => self.cut(Layout::Tensor(TensorMap::default())),
        }
    }

    /// For a file of this size, or a stream that states none. Its first bytes are peeked at, holes
    /// must come as zeroes.
    pub(super) fn of_file<R: Read>(
        &self,
        chunks: &mut ReadChunks<R>,
        name: &[u8],
        size: Option<u64>,
    ) -> io::Result<Cut> {
        Ok(match self.choice {
            ChunkerChoice::Auto => self.cut(sniff(chunks, name, size)?),
            ChunkerChoice::Tensor => match sniff(chunks, name, size)? {
                layout @ Layout::Tensor(_) => self.cut(layout),
                _ => self.of_unknown(),
            },
            _ => self.of_unknown(),
        })
    }

    fn cut(&self, layout: Layout) -> Cut {
        let class = layout.class();
        let cutter = match layout {
            Layout::Default => Arc::clone(&self.default),
            Layout::Large => Arc::clone(&self.large),
            Layout::Database => Arc::clone(&self.fixed),
            Layout::Tensor(map) => Arc::new(Cutter::Tensors(map)),
        };
        Cut { cutter, class }
    }
}

/// The layout by as many first bytes as it takes.
fn sniff<R: Read>(
    chunks: &mut ReadChunks<R>,
    name: &[u8],
    size: Option<u64>,
) -> io::Result<Layout> {
    let mut len = SNIFF_LEN;
    let size = match size {
        Some(size) => size,
        // The size of a stream that ends before that is known by then.
        None => match chunks.peek(len)?.len() {
            whole if whole < len => whole as u64,
            _ => UNSIZED,
        },
    };
    loop {
        let first = chunks.peek(len)?;
        match classes::sniff(first, name, size) {
            Sniffed::Layout(layout) => return Ok(layout),
            // It ended before its size: it is being changed, and read again.
            Sniffed::More(more) if more <= first.len() || first.len() < len => {
                return Ok(Layout::Default);
            }
            Sniffed::More(more) => len = more,
        }
    }
}

/// All of a file with holes, which come as zeroes and are not read: pages of holes would take room
/// in the cache, and make ext4 call them data where they are preallocated.
pub(super) struct WholeReader<'a, 'f> {
    pub(super) file: &'a mut GuardedFile<'f>,
    /// Of data, in file order.
    pub(super) ranges: &'a [Range<u64>],
    pub(super) at: u64,
    pub(super) size: u64,
}

impl Read for WholeReader<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let next = self.ranges.iter().find(|range| range.end > self.at);
        let count = match next {
            Some(range) if range.start <= self.at => {
                self.file.range(self.at..range.end).read(buf)?
            }
            next => {
                let end = next.map_or(self.size, |range| range.start);
                let len = end.saturating_sub(self.at).min(buf.len() as u64) as usize;
                buf.get_mut(..len).unwrap_or_default().fill(0);
                len
            }
        };
        self.at += count as u64;
        Ok(count)
    }
}
