//! An I/O error part-way through a source file: reported, and the rest is taken. The failing disk
//! is a FUSE file system of this test.

mod common;

use std::ffi::OsStr;
use std::time::{Duration, UNIX_EPOCH};

use common::library::{content, find, options, repository, try_ingest};
use common::{Mounted, Sandbox, require_fuse};
use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, Generation, INodeNo, LockOwner, OpenFlags,
    ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry, Request,
};
use icecore::progress::Silent;

/// `bad` fails from its second half on; `good` does not.
struct FailingDisk;

const SIZE: u64 = 1 << 20;
const TTL: Duration = Duration::from_secs(60);

fn attributes(ino: u64) -> FileAttr {
    let (kind, size, perm) = if ino == 1 {
        (FileType::Directory, 0, 0o755)
    } else {
        (FileType::RegularFile, SIZE, 0o644)
    };
    FileAttr {
        ino: INodeNo(ino),
        size,
        blocks: size / 512,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

impl Filesystem for FailingDisk {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match name.to_str() {
            Some("bad") => reply.entry(&TTL, &attributes(2), Generation(0)),
            Some("good") => reply.entry(&TTL, &attributes(3), Generation(0)),
            _ => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&TTL, &attributes(ino.0));
    }

    fn readdir(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let entries = [(2, "bad"), (3, "good")];
        for (at, (ino, name)) in entries.iter().enumerate().skip(offset as usize) {
            let _ = reply.add(INodeNo(*ino), at as u64 + 1, FileType::RegularFile, name);
        }
        reply.ok();
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
        let end = (offset + u64::from(size)).min(SIZE);
        if ino.0 == 2 && end > SIZE / 2 {
            reply.error(Errno::EIO);
        } else {
            reply.data(&vec![7; end.saturating_sub(offset) as usize]);
        }
    }
}

#[test]
fn an_error_part_way_is_reported_and_the_rest_is_taken() {
    require_fuse();
    let sandbox = Sandbox::new();
    let point = sandbox.folder("failing");
    let session = fuser::spawn_mount(FailingDisk, &point, &fuser::Config::default()).unwrap();
    let mounted = Mounted::adopt(point.clone());
    let repo = repository();
    let report = try_ingest(&repo, &point, &options(), &Silent).unwrap();
    assert_eq!(report.troubles_count, 1, "{:?}", report.troubles);
    assert_eq!(report.troubles[0].path, b"/bad");
    assert!(report.troubles[0].what.contains("Input/output error"), "{:?}", report.troubles);
    assert!(find(&repo, "bad").is_none());
    assert_eq!(content(&repo, &find(&repo, "good").unwrap()), vec![7; SIZE as usize]);
    drop(mounted);
    drop(session);
}
