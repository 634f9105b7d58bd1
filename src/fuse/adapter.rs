//! The kernel's questions, one call into [`Vfs`] each.
//!
//! Files and directories are not opened: `open` and `opendir` answer ENOSYS, after which the
//! kernel no longer asks, nor tells of closing; a read costs one message. What must stay true: a
//! panic fails its question (fuser answers EIO for a reply that is dropped) and never ends the
//! thread that answers; nothing is ever answered with fewer bytes than the file has there, since
//! the kernel takes that for the file's end.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use fuser::{
    BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, INodeNo, InitFlags,
    IoctlFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen,
    ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use super::convert::{self, GENERATION};
use super::error::errno;
use super::push::Pusher;
use super::turns::Turns;
use super::walks::{SMALL_MAX, SmallFile, Walks};
use crate::format::{Kind, limits};
use crate::sync::{about_to_block, first_said};
use crate::vfs::{Attr, Ino, Lifetime, Listing, Seek, Vfs, VfsError};

/// Bytes that the kernel may read ahead of a reader.
pub(super) const READAHEAD: u32 = 4 << 20;
/// Bytes of one request. A read-only mount writes nothing; fuser derives the limit of reads of it.
const REQUEST: u32 = 1 << 20;
const BACKGROUND: u16 = 64;
const BLOCK_SIZE: u32 = 4096;

/// What makes it fast and faithful, each used where the kernel has it.
const CAPABILITIES: [InitFlags; 10] = [
    InitFlags::FUSE_NO_OPEN_SUPPORT,
    InitFlags::FUSE_NO_OPENDIR_SUPPORT,
    // Always, not as the kernel guesses: it guesses wrong for `find` with tests.
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_CACHE_SYMLINKS,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_ASYNC_READ,
    InitFlags::FUSE_ASYNC_DIO,
    InitFlags::FUSE_MAX_PAGES,
    // The kernel reads ACLs from the attributes and enforces them.
    InitFlags::FUSE_POSIX_ACL,
    // Cached listings of the directories above the snapshots are dropped when their mtime moves.
    InitFlags::FUSE_AUTO_INVAL_DATA,
];

/// Answers the kernel out of a [`Vfs`].
#[derive(Debug)]
pub(super) struct Adapter {
    vfs: Arc<Vfs>,
    turns: Arc<Turns>,
    walks: Walks,
    pusher: Pusher,
    no_export: bool,
}

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Runs one answer, or a piece of work beside them; a panic in it is logged and costs that only.
pub(super) fn guarded(question: &str, answer: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(answer)).is_err() {
        tracing::error!(
            "{question} panicked; what was asked, if anything, is answered with an I/O error"
        );
    }
}

/// The errno of a failure, after logging what an administrator must know of: each damaged or
/// missing object once.
fn failed(question: &str, ino: INodeNo, err: &VfsError) -> Errno {
    if let VfsError::Io { source, .. } = err
        && first_said(&source.object())
    {
        tracing::error!("{question} of inode {:#x} failed: {err}: {}", ino.0, chain(source));
    }
    errno(err)
}

/// An error with its causes in one line.
fn chain(err: &dyn std::error::Error) -> String {
    match err.source() {
        Some(source) => format!("{err}: {}", chain(source)),
        None => err.to_string(),
    }
}

fn reply_xattr(size: u32, value: &[u8], reply: ReplyXattr) {
    match u32::try_from(value.len()) {
        Ok(len) if size == 0 => reply.size(len),
        Ok(len) if len <= size => reply.data(value),
        _ => reply.error(Errno::ERANGE),
    }
}

/// What may be given to the kernel unasked.
fn small_file(attr: &Attr) -> Option<SmallFile> {
    let small = attr.kind == Kind::File && (1..=SMALL_MAX).contains(&attr.size);
    small.then_some(SmallFile { ino: attr.ino.0, size: attr.size })
}

impl Adapter {
    /// With `no_export`, no handles of files are given out.
    pub(super) fn new(vfs: Arc<Vfs>, turns: Arc<Turns>, pusher: Pusher, no_export: bool) -> Self {
        Self { vfs, turns, walks: Walks::new(), pusher, no_export }
    }

    /// Runs one answer about `ino`, in turn.
    fn answer(&self, question: &str, ino: INodeNo, answer: impl FnOnce()) {
        self.turns.begin();
        if self.vfs.may_take_long(Ino(ino.0)) {
            about_to_block();
        }
        guarded(question, answer);
        self.turns.end();
    }

    fn read_into(&self, ino: INodeNo, offset: u64, size: u32, reply: ReplyData) {
        BUFFER.with_borrow_mut(|buffer| {
            let size = size as usize;
            if buffer.len() < size {
                buffer.resize(size, 0);
            }
            let buffer = buffer.get_mut(..size).unwrap_or_default();
            match self.vfs.read_at(Ino(ino.0), offset, buffer) {
                Ok(count) => reply.data(buffer.get(..count).unwrap_or_default()),
                Err(err) => reply.error(failed("reading", ino, &err)),
            }
        });
    }
}

impl Filesystem for Adapter {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let export = match self.no_export {
            false => InitFlags::FUSE_EXPORT_SUPPORT,
            true => InitFlags::FUSE_NO_EXPORT_SUPPORT,
        };
        for capability in CAPABILITIES.into_iter().chain([export]) {
            if config.add_capabilities(capability).is_err() {
                tracing::debug!("the kernel has no {capability:?}");
            }
        }
        // An error of these names the nearest that is allowed.
        if let Err(allowed) = config.set_max_readahead(READAHEAD) {
            let _ = config.set_max_readahead(allowed);
        }
        if let Err(allowed) = config.set_max_write(REQUEST) {
            let _ = config.set_max_write(allowed);
        }
        if let Err(allowed) = config.set_max_background(BACKGROUND) {
            let _ = config.set_max_background(allowed);
        }
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.answer("a look-up", parent, || {
            match self.vfs.lookup(Ino(parent.0), name.as_bytes()) {
                Ok(entry) => reply.entry_with_ttls(
                    &convert::ttl(entry.attr.lifetime),
                    &convert::ttl(entry.lifetime),
                    &convert::attr(&entry.attr),
                    GENERATION,
                ),
                Err(VfsError::NotFound) if self.vfs.is_immutable(Ino(parent.0)) => {
                    let forever = convert::ttl(Lifetime::Forever);
                    reply.entry(&forever, &convert::nothing(), GENERATION);
                }
                Err(err) => reply.error(failed("a look-up in the directory", parent, &err)),
            }
        });
    }

    /// Called for each of a batch: what is between two of them must not wait.
    fn forget(&self, _: &Request, ino: INodeNo, lookups: u64) {
        guarded("forgetting", || self.vfs.forget(Ino(ino.0), lookups));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.answer("getattr", ino, || match self.vfs.attr(Ino(ino.0)) {
            Ok(attr) => reply.attr(&convert::ttl(attr.lifetime), &convert::attr(&attr)),
            Err(err) => reply.error(failed("getattr", ino, &err)),
        });
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        self.answer("readlink", ino, || match self.vfs.read_link(Ino(ino.0)) {
            Ok(target) => reply.data(&target),
            Err(err) => reply.error(failed("readlink", ino, &err)),
        });
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.answer("reading", ino, || {
            self.read_into(ino, offset, size, reply);
            if offset == 0 {
                self.pusher.push(self.walks.read(ino.0));
            }
        });
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        self.answer("readdir", ino, || {
            let listed = self.vfs.list(Ino(ino.0), offset, Listing::Names, &mut |entry| {
                let (number, kind) = (convert::ino(entry.attr.ino), convert::kind(entry.attr.kind));
                !reply.add(number, entry.next, kind, OsStr::from_bytes(entry.name))
            });
            match listed {
                Ok(()) => reply.ok(),
                Err(err) => reply.error(failed("readdir", ino, &err)),
            }
        });
    }

    fn readdirplus(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        self.answer("readdirplus", ino, || {
            let (mut small, mut taken) = (Vec::new(), false);
            let listed = self.vfs.list(Ino(ino.0), offset, Listing::Lookups, &mut |entry| {
                let (number, ttl) = (convert::ino(entry.attr.ino), convert::ttl(entry.lifetime));
                let (name, attr) = (OsStr::from_bytes(entry.name), convert::attr(&entry.attr));
                let full = reply.add(number, entry.next, name, &ttl, &attr, GENERATION);
                taken |= !full;
                small.extend(small_file(&entry.attr).filter(|_| !full));
                !full
            });
            match listed {
                Ok(()) => reply.ok(),
                Err(err) => return reply.error(failed("readdir", ino, &err)),
            }
            self.pusher.push(self.walks.listed(ino.0, offset, &small, !taken));
        });
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        self.answer("statfs", INodeNo::ROOT, || {
            let figures = self.vfs.figures();
            let blocks = figures.stored.div_ceil(BLOCK_SIZE.into());
            let name_max = limits::NAME_MAX as u32;
            reply.statfs(blocks, 0, 0, figures.entries, 0, BLOCK_SIZE, name_max, BLOCK_SIZE);
        });
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        self.answer("getxattr", ino, || match self.vfs.xattr(Ino(ino.0), name.as_bytes()) {
            Ok(value) => reply_xattr(size, &value, reply),
            Err(err) => reply.error(failed("getxattr", ino, &err)),
        });
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        self.answer("listxattr", ino, || match self.vfs.xattrs(Ino(ino.0)) {
            Ok(names) => {
                let list: Vec<u8> =
                    names.into_iter().flat_map(|name| [name, vec![0]].concat()).collect();
                reply_xattr(size, &list, reply);
            }
            Err(err) => reply.error(failed("listxattr", ino, &err)),
        });
    }

    fn lseek(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let what = match whence {
            libc::SEEK_DATA => Seek::Data,
            libc::SEEK_HOLE => Seek::Hole,
            _ => return reply.error(Errno::EINVAL),
        };
        let Ok(offset) = u64::try_from(offset) else { return reply.error(Errno::ENXIO) };
        self.answer("lseek", ino, || match self.vfs.seek(Ino(ino.0), offset, what) {
            Ok(found) => reply.offset(found as i64),
            Err(err) => reply.error(failed("lseek", ino, &err)),
        });
    }

    fn ioctl(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        _: u32,
        _: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOTTY);
    }

    // Writing in all its forms. The kernel refuses most of it for a read-only mount.

    fn setattr(
        &self,
        _: &Request,
        _: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        reply.error(Errno::EROFS);
    }

    fn mknod(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, _: u32, reply: ReplyEntry) {
        reply.error(Errno::EROFS);
    }

    fn mkdir(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        reply.error(Errno::EROFS);
    }

    fn unlink(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EROFS);
    }

    fn rmdir(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EROFS);
    }

    fn symlink(&self, _: &Request, _: INodeNo, _: &OsStr, _: &Path, reply: ReplyEntry) {
        reply.error(Errno::EROFS);
    }

    fn rename(
        &self,
        _: &Request,
        _: INodeNo,
        _: &OsStr,
        _: INodeNo,
        _: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EROFS);
    }

    fn link(&self, _: &Request, _: INodeNo, _: INodeNo, _: &OsStr, reply: ReplyEntry) {
        reply.error(Errno::EROFS);
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        reply.error(Errno::EROFS);
    }

    fn create(
        &self,
        _: &Request,
        _: INodeNo,
        _: &OsStr,
        _: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        reply.error(Errno::EROFS);
    }

    fn setxattr(
        &self,
        _: &Request,
        _: INodeNo,
        _: &OsStr,
        _: &[u8],
        _: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EROFS);
    }

    fn removexattr(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EROFS);
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: u64,
        _: i32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EROFS);
    }

    fn copy_file_range(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        reply.error(Errno::EROFS);
    }
}
