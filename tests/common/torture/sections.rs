//! What fills each folder at the top of the torture tree.

use rustix::fs::{FallocateFlags, FileType, fallocate, ftruncate, makedev};
use rustix::io::Errno;

use super::{
    Builder, Directory, TortureOptions, acl_bytes, create, random_bytes, set_xattr, settle,
    text_bytes, write_all,
};

/// Offset of the one block in the file of 1 TiB.
const TEBIBYTE_BLOCK_OFFSET: u64 = (1 << 39) + (1 << 20);
const TEBIBYTE: u64 = 1 << 40;

impl Builder {
    pub(super) fn kinds(&mut self, dir: &Directory, _: &TortureOptions) {
        self.file(dir, "regular", b"content\n");
        self.directory(dir, "directory");
        self.symlink(dir, "symlink", b"regular");
        self.node(dir, "fifo", FileType::Fifo, 0);
        self.node(dir, "socket", FileType::Socket, 0);
        self.node(dir, "null", FileType::CharacterDevice, makedev(1, 3));
        self.node(dir, "whiteout", FileType::CharacterDevice, makedev(0, 0));
        self.node(dir, "disk", FileType::BlockDevice, makedev(8, 1));
        for (major, minor) in [(255, 255), (256, 256), (4095, 0), (0, 1_048_575), (4095, 1_048_575)]
        {
            let device = makedev(major, minor);
            self.node(dir, &format!("char-{major}-{minor}"), FileType::CharacterDevice, device);
            self.node(dir, &format!("block-{major}-{minor}"), FileType::BlockDevice, device);
        }
    }

    pub(super) fn modes(&mut self, dir: &Directory, _: &TortureOptions) {
        let single_bits = (0..12).map(|bit| 1_u32 << bit);
        for mode in single_bits.chain([0, 0o600, 0o755, 0o1777, 0o2775, 0o4755, 0o6711, 0o7777]) {
            let file = format!("file-{mode:04o}");
            self.file(dir, &file, b"x");
            self.mode(dir, &file, mode);
            let inner = format!("dir-{mode:04o}");
            let made = self.directory(dir, &inner);
            self.file(&made, "inside", b"y");
            self.mode(dir, &inner, mode);
            let fifo = format!("fifo-{mode:04o}");
            self.node(dir, &fifo, FileType::Fifo, 0);
            self.mode(dir, &fifo, mode);
        }
    }

    pub(super) fn owners(&mut self, dir: &Directory, _: &TortureOptions) {
        let largest = u32::MAX - 1;
        for (uid, gid) in [
            (0, 0),
            (1, 2),
            (1000, 1000),
            (65534, 65535),
            (65536, 1),
            (1 << 31, (1 << 31) - 1),
            (largest, 0),
            (0, largest),
            (largest, largest),
        ] {
            let name = |kind: &str| format!("{kind}-{uid}-{gid}");
            self.file(dir, name("file"), b"owned");
            self.directory(dir, &name("dir"));
            self.symlink(dir, &name("link"), b"file");
            self.node(dir, &name("fifo"), FileType::Fifo, 0);
            for kind in ["file", "dir", "link", "fifo"] {
                self.owner(dir, &name(kind), uid, gid);
            }
        }
        // chown takes these bits away, so they come after it.
        self.file(dir, "setuid-of-another", b"#!/bin/true\n");
        self.owner(dir, "setuid-of-another", 33, 33);
        self.mode(dir, "setuid-of-another", 0o6755);
    }

    pub(super) fn times(&mut self, dir: &Directory, _: &TortureOptions) {
        // What ext4 stores: 1901-12-13 to 2446-05-10; the kernel gives the bounds themselves no ns.
        let times: [(i64, i64); 13] = [
            (-(1 << 31), 0),
            (-(1 << 31) + 1, 1),
            (-1_000_000_000, 123_456_789),
            (-1, 0),
            (-1, 999_999_999),
            (0, 0),
            (0, 1),
            (1_700_000_000, 999_999_999),
            ((1 << 31) - 1, 999_999_999),
            (1 << 31, 0),
            ((1 << 32) - 1, 500_000_000),
            (1 << 32, 1),
            (15_032_385_534, 999_999_999),
        ];
        for (index, (sec, nsec)) in times.into_iter().enumerate() {
            let name = |kind: &str| format!("{kind}-{index:02}");
            self.file(dir, name("file"), b"then");
            self.directory(dir, &name("dir"));
            self.symlink(dir, &name("link"), b"nowhere");
            self.node(dir, &name("fifo"), FileType::Fifo, 0);
            self.node(dir, &name("null"), FileType::CharacterDevice, makedev(1, 3));
            for kind in ["file", "dir", "link", "fifo", "null"] {
                self.mtime(dir, &name(kind), sec, nsec);
            }
        }
    }

    pub(super) fn xattrs(&mut self, dir: &Directory, _: &TortureOptions) {
        self.file(dir, "file", b"with attributes");
        self.directory(dir, "dir");
        for name in ["file", "dir"] {
            self.xattr(dir, name, b"user.empty", b"");
            self.xattr(dir, name, b"user.text", b"value");
            self.xattr(dir, name, b"user.zeros", &[0; 100]);
            self.xattr(dir, name, b"user.bytes", &(0..=255).collect::<Vec<u8>>());
            self.xattr(dir, name, b"user.\xff\xfe\n name", b"\n\0\xff");
            self.xattr(dir, name, b"trusted.icecore-test", b"for root only");
            self.xattr(dir, name, b"security.icecore-test", b"\x00\x01");
        }
        self.symlink(dir, "symlink", b"file");
        self.node(dir, "fifo", FileType::Fifo, 0);
        self.node(dir, "socket", FileType::Socket, 0);
        self.node(dir, "device", FileType::CharacterDevice, makedev(1, 3));
        for name in ["symlink", "fifo", "socket", "device"] {
            // The namespace user.* is for files and directories alone.
            self.xattr(dir, name, b"trusted.icecore-test", name.as_bytes());
            self.xattr(dir, name, b"security.icecore-test", b"");
        }
        self.file(dir, "longest-name", b"");
        let longest = [b"user.".as_slice(), &[b'n'; 250]].concat();
        self.xattr(dir, "longest-name", &longest, b"v");
        self.file(dir, "many", b"");
        for index in 0..50 {
            self.xattr(dir, "many", format!("user.key-{index:02}").as_bytes(), b"v");
        }
        // The longest value that this file system takes: VFS allows 64 KiB, ext4 about a block.
        self.file(dir, "large-value", b"");
        let mut made = Err(Errno::INVAL);
        for len in [65_536, 16_000, 3_900] {
            let value = random_bytes(7, len);
            made = set_xattr(dir.fd(), b"large-value", b"user.large", &value);
            if made.is_ok() {
                break;
            }
        }
        self.attempt(dir, b"large-value", "user.large of 3900 bytes", made);

        // Revision 2 (20 bytes) and revision 3 (24 bytes, with the uid of a namespace's root).
        let capability = |revision: u32, rest: &[u32]| {
            let words = [revision | 1, 0x2000, 0, 0, 0].into_iter().chain(rest.iter().copied());
            words.flat_map(u32::to_le_bytes).collect::<Vec<u8>>()
        };
        self.file(dir, "capability-2", b"#!/bin/true\n");
        self.mode(dir, "capability-2", 0o755);
        self.xattr(dir, "capability-2", b"security.capability", &capability(0x0200_0000, &[]));
        self.file(dir, "capability-3", b"#!/bin/true\n");
        self.owner(dir, "capability-3", 1000, 1000);
        self.mode(dir, "capability-3", 0o755);
        let revision_3 = capability(0x0300_0000, &[100_000]);
        self.xattr(dir, "capability-3", b"security.capability", &revision_3);
    }

    pub(super) fn acls(&mut self, dir: &Directory, _: &TortureOptions) {
        const USER_OBJ: u16 = 1;
        const USER: u16 = 2;
        const GROUP_OBJ: u16 = 4;
        const GROUP: u16 = 8;
        const MASK: u16 = 16;
        const OTHER: u16 = 32;
        const NO_ID: u32 = u32::MAX;
        let full = acl_bytes(&[
            (USER_OBJ, 6, NO_ID),
            (USER, 4, 1000),
            (USER, 7, u32::MAX - 1),
            (GROUP_OBJ, 4, NO_ID),
            (GROUP, 6, 1000),
            (MASK, 6, NO_ID),
            (OTHER, 0, NO_ID),
        ]);
        let minimal = acl_bytes(&[(USER_OBJ, 7, NO_ID), (GROUP_OBJ, 5, NO_ID), (OTHER, 0, NO_ID)]);
        let mut many = vec![(USER_OBJ, 7, NO_ID)];
        many.extend((2000..2100).map(|uid| (USER, 5, uid)));
        many.extend([(GROUP_OBJ, 5, NO_ID), (MASK, 5, NO_ID), (OTHER, 5, NO_ID)]);
        let many = acl_bytes(&many);

        let (access, default) = (b"system.posix_acl_access", b"system.posix_acl_default");
        for (name, acl) in [("file", &full), ("file-of-many", &many)] {
            self.file(dir, name, b"guarded");
            self.xattr(dir, name, access, acl);
        }
        self.node(dir, "fifo", FileType::Fifo, 0);
        self.xattr(dir, "fifo", access, &full);
        for (name, acl) in [("dir-minimal", &minimal), ("dir", &full), ("dir-of-many", &many)] {
            let made = self.directory(dir, name);
            // It came before the default ACL, and must not have one after a restore either.
            self.file(&made, "without", b"plain mode in a directory with a default ACL");
            self.directory(&made, "without-dir");
            self.xattr(dir, name, default, acl);
            self.file(&made, "inherited", b"");
            self.directory(&made, "inherited-dir");
        }
        self.xattr(dir, "dir", access, &full);
    }

    pub(super) fn hard_links(&mut self, dir: &Directory, _: &TortureOptions) {
        let (a, b) = (self.directory(dir, "a"), self.directory(dir, "b"));
        self.file(&a, "file", b"one inode, four names\n");
        self.symlink(&a, "symlink", b"file");
        self.symlink(&a, "broken", b"no such file");
        self.node(&a, "fifo", FileType::Fifo, 0);
        self.node(&a, "socket", FileType::Socket, 0);
        self.node(&a, "char", FileType::CharacterDevice, makedev(1, 5));
        self.node(&a, "block", FileType::BlockDevice, makedev(7, 300));
        self.file(&a, "empty", b"");
        for name in ["file", "symlink", "broken", "fifo", "socket", "char", "block", "empty"] {
            self.link(&a, name, &a, &format!("{name}-again"));
            self.link(&a, name, &b, name);
            self.link(&a, name, dir, &format!("z-{name}"));
        }
        // Equal content is not a hard link.
        self.file(&a, "twin", b"same bytes, two inodes\n");
        self.file(&b, "twin", b"same bytes, two inodes\n");
        self.file(&a, "with-xattrs", b"x");
        self.xattr(&a, "with-xattrs", b"user.shared", b"by both names");
        self.link(&a, "with-xattrs", &b, "with-xattrs");
        self.file(dir, "of-1000-names", b"many");
        let many = self.directory(dir, "many");
        for index in 1..1000 {
            self.link(dir, "of-1000-names", &many, &format!("{index:03}"));
        }
    }

    pub(super) fn symlinks(&mut self, dir: &Directory, _: &TortureOptions) {
        self.symlink(dir, "broken", b"no/such/place");
        self.symlink(dir, "loop-of-one", b"loop-of-one");
        self.symlink(dir, "loop-a", b"loop-b");
        self.symlink(dir, "loop-b", b"loop-a");
        self.symlink(dir, "absolute", b"/etc/hostname");
        self.symlink(dir, "to-directory", b"..");
        self.symlink(dir, "dot", b".");
        self.symlink(dir, "slashes", b"//..//./");
        self.symlink(dir, "not-utf-8", b"\xff\xfe/\x80 \n\t");
        // ext4 keeps up to 59 bytes in the inode.
        for len in [1, 59, 60, 255, 4000, 4095] {
            self.symlink(dir, &format!("target-of-{len}"), &long_target(len));
        }
    }

    pub(super) fn names(&mut self, dir: &Directory, _: &TortureOptions) {
        for byte in (1..=255_u8).filter(|byte| *byte != b'/') {
            if byte != b'.' {
                self.file(dir, [byte], &[byte]);
            }
            self.file(dir, [b'a', byte, b'z'], &[byte]);
        }
        let fixed: [&[u8]; 21] = [
            b"...",
            b"..a",
            b".hidden",
            b"--",
            b"-rf",
            b"--help",
            b"a b",
            b" leading",
            b"trailing ",
            b"new\nline",
            b"\r\n",
            b"*?[a-z]",
            b"$HOME `id` 'q' \"q\"",
            b"back\\slash",
            b"C:\\nul",
            b"\x1b[31mred",
            b"\xc3\xa9 composed",
            b"e\xcc\x81 decomposed",
            b"\xed\xa0\x80 surrogate",
            b"\xe2\x80\xae right-to-left",
            b"latest",
        ];
        for name in fixed {
            self.file(dir, name, name);
        }
        self.file(dir, [b'n'; 255], b"255 bytes");
        self.file(dir, [0xff; 255], b"255 bytes");
        self.file(dir, [b"x".as_slice(), &"é".repeat(127).into_bytes()].concat(), b"255 bytes");
        let inner = self.directory(dir, &"d".repeat(255));
        self.file(&inner, [b'f'; 255], b"inside");
    }

    pub(super) fn sparse(&mut self, dir: &Directory, options: &TortureOptions) {
        const MIB: u64 = 1 << 20;
        let block = random_bytes(99, 8192);
        let mut files: Vec<(&str, u64, Vec<u64>)> = vec![
            ("all-hole", 8 * MIB, vec![]),
            ("all-hole-odd-size", 5 * MIB + 123, vec![]),
            ("hole-at-start", 4 * MIB + 8192, vec![4 * MIB]),
            ("hole-in-middle", 4 * MIB, vec![0, 4 * MIB - 8192]),
            ("hole-at-end", 4 * MIB, vec![0]),
            ("many-holes", 8 * MIB, (0..64).map(|index| index * 128 * 1024).collect()),
            ("unaligned", 3 * MIB + 1, vec![17, MIB + 4095, 2 * MIB + 1]),
        ];
        if options.huge_files {
            files.push(("past-4-gib", 5 << 30, vec![(4 << 30) - 4096, (5 << 30) - 8192]));
            files.push(("tebibyte", TEBIBYTE, vec![TEBIBYTE_BLOCK_OFFSET]));
        }
        for (name, size, data) in files {
            let made = create(dir, name.as_bytes()).and_then(|fd| {
                ftruncate(&fd, size)?;
                data.iter().try_for_each(|offset| write_all(&fd, &block, *offset))?;
                settle(dir, name.as_bytes())
            });
            self.attempt(dir, name.as_bytes(), "sparse file", made);
        }
        let whole = create(dir, b"punched").and_then(|fd| {
            write_all(&fd, &random_bytes(98, 1 << 20), 0)?;
            let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            fallocate(&fd, mode, 256 * 1024, 256 * 1024)?;
            settle(dir, b"punched")
        });
        self.attempt(dir, b"punched", "punched hole", whole);
        let reserved = create(dir, b"preallocated").and_then(|fd| {
            fallocate(&fd, FallocateFlags::empty(), 0, 2 << 20)?;
            write_all(&fd, &block, 1 << 20)?;
            settle(dir, b"preallocated")
        });
        self.attempt(dir, b"preallocated", "preallocated file", reserved);
        let beyond = create(dir, b"preallocated-past-end").and_then(|fd| {
            write_all(&fd, &block, 0)?;
            fallocate(&fd, FallocateFlags::KEEP_SIZE, 0, 1 << 20)?;
            settle(dir, b"preallocated-past-end")
        });
        self.attempt(dir, b"preallocated-past-end", "preallocated past its end", beyond);
        // Zeros that were written are data, not a hole.
        self.file(dir, "written-zeros", &vec![0; 1 << 20]);
    }

    /// Sizes around every power of two up to 1 MiB: whatever threshold a store has is among them.
    pub(super) fn sizes(&mut self, dir: &Directory, _: &TortureOptions) {
        let mut sizes: Vec<usize> = (0..=20)
            .flat_map(|bit| {
                let power = 1_usize << bit;
                [power - 1, power, power + 1]
            })
            .chain([100, 1000, 1500, 3000, 5000, 10_000, 100_000, 300_000, 700_000])
            .collect();
        sizes.sort_unstable();
        sizes.dedup();
        for size in sizes {
            self.file(dir, format!("random-{size:07}"), &random_bytes(size as u64, size));
            self.file(dir, format!("text-{size:07}"), &text_bytes(size as u64, size));
        }
    }

    pub(super) fn large(&mut self, dir: &Directory, options: &TortureOptions) {
        const MIB: usize = 1 << 20;
        if !options.large_files {
            return;
        }
        let random = random_bytes(1, 9 * MIB + 77);
        let text = text_bytes(2, 12 * MIB + 5);
        self.file(dir, "random", &random);
        self.file(dir, "random-duplicate", &random);
        self.file(dir, "random-shifted", &[b"one line in front\n", random.as_slice()].concat());
        self.file(dir, "text", &text);
        self.file(dir, "text-duplicate", &text);
        let mut edited = text.clone();
        edited.splice(6 * MIB..6 * MIB + 10, *b"an edit in the middle");
        self.file(dir, "text-edited.log", &edited);
        self.file(dir, "one-byte-repeated", &vec![b'a'; 5 * MIB]);
        self.file(dir, "two-files-in-one", &[&text[..3 * MIB], &random[..3 * MIB]].concat());

        // Kinds that are chunked by what they are, and impostors of them.
        let header = br#"{"weight":{"dtype":"F32","shape":[1024,512],"data_offsets":[0,2097152]}}"#;
        let length = |len: u64| len.to_le_bytes().to_vec();
        let floats: Vec<u8> = (0..524_288_u32)
            .flat_map(|i| ((i % 1013) as f32).mul_add(1e-4, -0.05).to_le_bytes())
            .collect();
        let tensor = [&length(header.len() as u64), header.as_slice(), &floats].concat();
        self.file(dir, "model.safetensors", &tensor);
        self.file(dir, "cut-short.safetensors", &tensor[..tensor.len() / 2]);
        let absurd = [&length(u64::MAX), header.as_slice(), &floats].concat();
        self.file(dir, "absurd.safetensors", &absurd);
        let mut pages = b"SQLite format 3\0\x10\0\x01\x01\0\x40\x20\x20".to_vec();
        pages.resize(100, 0);
        pages.extend_from_slice(&text_bytes(3, 400 * 4096 - 100));
        self.file(dir, "pages.sqlite", &pages);
        self.file(dir, "not-whole-pages.sqlite", &pages[..pages.len() - 1000]);
        self.file(dir, "only-a-header.sqlite", &pages[..16]);
    }

    pub(super) fn deep(&mut self, dir: &Directory, options: &TortureOptions) {
        let mut chain = vec![self.directory(dir, "levels")];
        for level in 1..60 {
            let parent = &chain[level - 1];
            let next = self.directory(parent, &format!("{level:02}"));
            chain.push(next);
        }
        self.file(&chain[59], "at-the-bottom", b"60 levels down\n");
        if options.past_path_max {
            let mut place = self.directory(dir, &"p".repeat(255));
            for level in 0..20_u8 {
                self.file(&place, "beside", &[level]);
                place = self.directory(&place, &char::from(b'a' + level).to_string().repeat(255));
            }
            self.file(&place, "past PATH_MAX", b"more than 5000 bytes of path\n");
            self.symlink(&place, "link", b"past PATH_MAX");
            self.xattr(&place, "past PATH_MAX", b"user.deep", b"yes");
            self.link(&place, "past PATH_MAX", dir, "name-near-the-top");
        }
    }

    pub(super) fn big_directory(&mut self, dir: &Directory, options: &TortureOptions) {
        for index in 0..options.big_directory_entries {
            let padding = "x".repeat(index % 23);
            let name = format!("entry-{index:07}{padding}");
            match index % 10 {
                0 => self.file(dir, name, format!("content of {index}\n").as_bytes()),
                1 => self.symlink(dir, &name, format!("../sizes/{index}").as_bytes()),
                2 if index % 100 == 2 => drop(self.directory(dir, &name)),
                _ => self.file(dir, name, b""),
            }
        }
    }

    pub(super) fn empty(&mut self, dir: &Directory, _: &TortureOptions) {
        self.directory(dir, "directory");
        let outer = self.directory(dir, "nested");
        self.directory(&outer, "directory");
        self.file(dir, "file", b"");
    }
}

/// A link target of exactly `len` bytes, in components of legal length.
fn long_target(len: usize) -> Vec<u8> {
    (0..len).map(|i| if i % 200 == 199 { b'/' } else { b't' }).collect()
}
