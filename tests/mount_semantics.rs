//! What a mounted snapshot looks like to the real kernel and to the tools that copy it.
//!
//! Guards fidelity where other mounts lose it: xattrs, ACLs, hard links, times of any sign, device
//! numbers, holes, allocation, names of any bytes, and large directories.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::Path;

use icecore as lib;
use icecore::format::{Body, Time};
use icecore::fuse::{self, MountOptions};

#[allow(dead_code)] // shared
mod mount_tree;
#[allow(dead_code)] // shared
mod mount_world;

use mount_tree::{Item, Piece, What};
use mount_world::{NOON, World, run};

fn other(body: Body, mode: u32) -> Item {
    Item::new(What::Other(body)).mode(mode)
}

fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> i32 {
    result.unwrap_err().raw_os_error().unwrap()
}

fn pattern(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let step = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(step).collect()
}

#[test]
fn every_kind_has_its_mode_owner_and_numbers() {
    let mut owned = Item::file("x").mode(0o4751);
    (owned.uid, owned.gid) = (u32::MAX - 1, 123_456);
    let world = World::of(
        &Item::directory()
            .with("file", owned)
            .with("none", Item::file("").mode(0))
            .with("dir", Item::directory().mode(0o3777))
            .with("fifo", other(Body::Fifo, 0o600))
            .with("socket", other(Body::Socket, 0o755))
            .with("char", other(Body::CharDevice { major: 4095, minor: 1_048_575 }, 0o666))
            .with("block", other(Body::BlockDevice { major: 259, minor: 70_000 }, 0o660))
            .with("link", Item::symlink(b"nowhere/\xff"))
            .with("long", Item::symlink(&[b'a'; 4000])),
    );
    let stat = |name: &str| fs::symlink_metadata(world.latest(name)).unwrap();
    let file = stat("file");
    assert_eq!((file.mode(), file.uid(), file.gid()), (0o104_751, u32::MAX - 1, 123_456));
    assert_eq!((stat("none").mode(), stat("dir").mode()), (0o100_000, 0o043_777));
    assert!(stat("fifo").file_type().is_fifo());
    assert!(stat("socket").file_type().is_socket());
    assert!(stat("char").file_type().is_char_device());
    assert!(stat("block").file_type().is_block_device());
    let device = |name: &str| (libc::major(stat(name).rdev()), libc::minor(stat(name).rdev()));
    assert_eq!(device("char"), (4095, 1_048_575));
    assert_eq!(device("block"), (259, 70_000));
    let target = fs::read_link(world.latest("link")).unwrap();
    assert_eq!(target.as_os_str().as_bytes(), b"nowhere/\xff");
    assert_eq!(stat("link").size(), 9);
    assert_eq!(fs::read_link(world.latest("long")).unwrap().as_os_str().len(), 4000);
}

#[test]
fn times_of_any_sign_are_exact_to_the_nanosecond() {
    let times = [
        (-2, 500_000_000),
        (-1, 0),
        (-1, 999_999_999),
        (0, 0),
        (0, 1),
        (-62_135_596_800, 7),
        (1 << 32, 123_456_789),
        (253_402_300_799, 999_999_999),
    ];
    let mut root = Item::directory();
    for (n, (secs, nanos)) in times.into_iter().enumerate() {
        let mut item = if n % 2 == 0 { Item::file("") } else { Item::symlink(b"x") };
        item.mtime = Time { secs, nanos };
        item.atime = (n == 3).then_some(Time { secs: -5, nanos: 6 });
        root.add(n.to_string(), item);
    }
    let world = World::of(&root);
    for (n, (secs, nanos)) in times.into_iter().enumerate() {
        let stat = fs::symlink_metadata(world.latest(&n.to_string())).unwrap();
        assert_eq!((stat.mtime(), stat.mtime_nsec()), (secs, nanos.into()));
        let atime = if n == 3 { (-5, 6) } else { (secs, nanos.into()) };
        assert_eq!((stat.atime(), stat.atime_nsec()), atime);
    }
}

#[test]
fn xattrs_and_acls_are_seen_by_tools_and_copied_by_them() {
    // POSIX ACL, version 2: user::rwx user:1000:r-- group::r-x mask::r-x other::---
    let entry = |tag: u16, perm: u16, id: u32| {
        [&tag.to_le_bytes()[..], &perm.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let acl = [
        2_u32.to_le_bytes().to_vec(),
        entry(1, 7, u32::MAX),
        entry(2, 4, 1000),
        entry(4, 5, u32::MAX),
        entry(0x10, 5, u32::MAX),
        entry(0x20, 0, u32::MAX),
    ]
    .concat();
    // As much as ext4, the target of the copies, takes.
    let large = pattern(2_000, 3);
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let world = World::of(
        &Item::directory()
            .with(
                "file",
                Item::file("abc")
                    .mode(0o750)
                    .xattr("user.large", &large)
                    .xattr("user.empty", b"")
                    .xattr("trusted.t", b"\0\xff")
                    .xattr("security.capability", &capability)
                    .xattr("system.posix_acl_access", &acl),
            )
            .with("dir", Item::directory().mode(0o750).xattr("system.posix_acl_default", &acl))
            .with("plain", Item::file("abc")),
    );
    let huge = Item::file("").xattr("user.huge", &pattern(65_536, 3));
    let huge_world = World::of(&Item::directory().with("huge", huge));
    let file = world.latest("file");
    let listed = run("getfattr", &[&"-m", &"-", &"--absolute-names", &file]);
    let mut names: Vec<_> = listed.lines().skip(1).filter(|line| !line.is_empty()).collect();
    names.sort_unstable();
    let expected =
        ["security.capability", "system.posix_acl_access", "trusted.t", "user.empty", "user.large"];
    assert_eq!(names, expected, "and no user.icecore.*");
    assert!(run("getfacl", &[&"-n", &"-p", &file]).contains("user:1000:r--"));
    assert!(
        run("getfacl", &[&"-n", &"-p", &world.latest("dir")]).contains("default:user:1000:r--")
    );
    let value = |name: &str, path: &Path| {
        let mut buffer = vec![0; 70_000];
        let len = rustix::fs::getxattr(path, name, &mut buffer)?;
        buffer.truncate(len);
        Ok::<_, rustix::io::Errno>(buffer)
    };
    assert_eq!(value("user.large", &file).unwrap(), large);
    assert_eq!(value("user.empty", &file).unwrap(), b"");
    let huge = value("user.huge", &huge_world.latest("huge")).unwrap();
    assert_eq!(huge, pattern(65_536, 3));
    assert_eq!(value("user.none", &file), Err(rustix::io::Errno::NODATA));
    assert_eq!(value("user.none", &world.mountpoint()), Err(rustix::io::Errno::NODATA));
    let mut short = [0; 10];
    let result = rustix::fs::getxattr(&file, "user.large", &mut short);
    assert_eq!(result, Err(rustix::io::Errno::RANGE));
    let hash = blake3::hash(b"abc").to_hex();
    assert_eq!(value("user.icecore.blake3", &file).unwrap(), hash.as_bytes());

    let copies = world.folder.path().join("copies");
    fs::create_dir(&copies).unwrap();
    run("cp", &[&"-a", &file, &world.latest("dir"), &copies]);
    let dump = |path: &Path| {
        run("getfattr", &[&"-d", &"-m", &"-", &"-e", &"hex", &"--absolute-names", &path])
    };
    let same = |name: &str, copy: &Path| {
        let body = |text: String| text.split_once('\n').unwrap_or_default().1.to_owned();
        assert_eq!(body(dump(&world.latest(name))), body(dump(copy)), "{name}");
    };
    same("file", &copies.join("file"));
    same("dir", &copies.join("dir"));
    let synced = world.folder.path().join("synced");
    let source = format!("{}/", world.latest("").display());
    run("rsync", &[&"-aHAX", &"--numeric-ids", &source, &synced]);
    same("file", &synced.join("file"));
    let again =
        run("rsync", &[&"-aHAXn", &"-i", &"--numeric-ids", &"--checksum", &source, &synced]);
    assert_eq!(again, "");
}

#[test]
fn hard_links_share_a_number_and_unchanged_files_share_theirs_over_snapshots() {
    let tree = |text: &str| {
        Item::directory()
            .with("a", Item::file(text).link(9, 2))
            .with("d", Item::directory().with("b", Item::file(text).link(9, 2)))
            .with("same", Item::directory().with("f", Item::file("unchanged")))
    };
    let mut world = World::new();
    let first = world.commit(&tree("one"), NOON);
    let second = world.commit(&tree("two"), NOON + 60);
    world.mount();
    let stat = |snapshot: &str, path: &str| {
        fs::metadata(world.mountpoint().join("snapshots").join(snapshot).join(path)).unwrap()
    };
    for snapshot in [&first, &second] {
        assert_eq!(stat(snapshot, "a").ino(), stat(snapshot, "d/b").ino());
        assert_eq!(stat(snapshot, "a").nlink(), 2);
        assert_eq!(stat(snapshot, "same/f").nlink(), 1);
    }
    assert_ne!(stat(&first, "a").ino(), stat(&second, "a").ino());
    assert_eq!(stat(&first, "same/f").ino(), stat(&second, "same/f").ino());
    assert_ne!(stat(&first, "same").ino(), stat(&second, "same").ino());
    let copy = world.folder.path().join("copy");
    run("cp", &[&"-a", &world.mountpoint().join("snapshots"), &copy]);
    let copied = |snapshot: &str, path: &str| fs::metadata(copy.join(snapshot).join(path)).unwrap();
    assert_eq!(copied(&first, "a").ino(), copied(&first, "d/b").ino());
    assert_ne!(copied(&first, "a").ino(), copied(&second, "a").ino());
    assert_ne!(copied(&first, "same/f").ino(), copied(&second, "same/f").ino(), "nlink is 1");
    assert_eq!(fs::read(copy.join(&first).join("d/b")).unwrap(), b"one");
    assert_eq!(fs::read(copy.join(&second).join("a")).unwrap(), b"two");
}

#[test]
fn sparse_files_keep_their_holes_and_allocation() {
    let data = pattern(70_000, 5);
    let pieces = vec![Piece::Hole(1 << 20), Piece::Data(data.clone()), Piece::Hole(1 << 40)];
    let world = World::of(
        &Item::directory()
            .with("sparse", Item::new(What::File(pieces)))
            .with("small", Item::file("x"))
            .with("empty", Item::file(""))
            .with("hole", Item::new(What::File(vec![Piece::Hole(5000)]))),
    );
    let blocks = |name: &str| fs::metadata(world.latest(name)).unwrap().blocks();
    assert_eq!(
        (blocks("sparse"), blocks("small"), blocks("empty"), blocks("hole")),
        (144, 8, 0, 0)
    );
    let file = fs::File::open(world.latest("sparse")).unwrap();
    let seek = |offset, hole| {
        let from = if hole {
            rustix::fs::SeekFrom::Hole(offset)
        } else {
            rustix::fs::SeekFrom::Data(offset)
        };
        rustix::fs::seek(&file, from)
    };
    assert_eq!(seek(0, true), Ok(0));
    assert_eq!(seek(0, false), Ok(1 << 20));
    assert_eq!(seek(1 << 20, true), Ok((1 << 20) + 70_000));
    assert_eq!(seek((1 << 20) + 70_000, false), Err(rustix::io::Errno::NXIO));
    let mut bytes = vec![1; 70_004];
    file.read_exact_at(&mut bytes, (1 << 20) - 2).unwrap();
    assert_eq!(bytes, [&[0, 0][..], &data, &[0, 0]].concat());
    let mut end = [1; 3];
    file.read_exact_at(&mut end, (1 << 40) + (1 << 20) + 70_000 - 3).unwrap();
    assert_eq!(end, [0; 3]);
    let copy = world.folder.path().join("copy");
    run("cp", &[&"-a", &"--sparse=auto", &world.latest("sparse"), &copy]);
    assert!(fs::metadata(&copy).unwrap().blocks() < 1000, "cp keeps the holes");
}

#[test]
fn a_file_of_many_chunks_reads_right_in_every_way() {
    let bytes = pattern(9_000_001, 11);
    let world = World::of(&Item::directory().with("big", Item::file(bytes.clone())));
    let path = world.latest("big");
    assert!(fs::read(&path).unwrap() == bytes);
    let mut file = fs::File::open(&path).unwrap();
    for (offset, len) in [(0, 1), (65_535, 3), (8_999_990, 100), (4_000_000, 1_000_000)] {
        file.seek(SeekFrom::Start(offset)).unwrap();
        let mut part = Vec::new();
        (&file).take(len).read_to_end(&mut part).unwrap();
        let end = bytes.len().min((offset + len) as usize);
        assert!(part == bytes[offset as usize..end], "{offset}+{len}");
    }
    // `grep` and `cmp` read by other system calls; O_DIRECT passes the page cache by.
    let copy = world.folder.path().join("copy");
    run(
        "dd",
        &[
            &format!("if={}", path.display()),
            &format!("of={}", copy.display()),
            &"iflag=direct",
            &"bs=64k",
            &"status=none",
        ],
    );
    assert!(fs::read(&copy).unwrap() == bytes);
    // A binary that runs is mapped, shared and executable.
    let program = fs::read("/bin/true").unwrap();
    let world = World::of(&Item::directory().with("true", Item::file(program).mode(0o755)));
    run(world.latest("true").to_str().unwrap(), &[]);
}

#[test]
fn every_write_is_refused_as_read_only() {
    let world =
        World::of(&Item::directory().with("file", Item::file("x")).with("d", Item::directory()));
    let path = |name: &str| world.latest(name);
    assert_eq!(errno(fs::write(path("new"), "x")), libc::EROFS);
    assert_eq!(errno(fs::OpenOptions::new().write(true).open(path("file"))), libc::EROFS);
    assert_eq!(errno(fs::create_dir(path("new"))), libc::EROFS);
    assert_eq!(errno(fs::remove_file(path("file"))), libc::EROFS);
    assert_eq!(errno(fs::remove_dir(path("d"))), libc::EROFS);
    assert_eq!(errno(fs::rename(path("file"), path("new"))), libc::EROFS);
    assert_eq!(errno(fs::hard_link(path("file"), path("new"))), libc::EROFS);
    assert_eq!(errno(std::os::unix::fs::symlink("x", path("new"))), libc::EROFS);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    assert_eq!(errno(fs::set_permissions(path("file"), mode)), libc::EROFS);
    let flags = rustix::fs::XattrFlags::empty();
    let set = rustix::fs::setxattr(path("file"), "user.x", b"y", flags);
    assert_eq!(set, Err(rustix::io::Errno::ROFS));
    let remove = rustix::fs::removexattr(path("file"), "user.x");
    assert_eq!(remove, Err(rustix::io::Errno::ROFS));
    assert_eq!(errno(fs::write(world.mountpoint().join("new"), "x")), libc::EROFS);
}

#[test]
fn permissions_are_enforced_by_the_kernel() {
    let mut mine = Item::file("secret").mode(0o400);
    (mine.uid, mine.gid) = (65_534, 65_534);
    // user::rw- user:1000:r-- group::r-- mask::r-- other::---
    let acl = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x04\0\xe8\x03\0\0\
        \x04\0\x04\0\xff\xff\xff\xff\x10\0\x04\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff";
    let shared = Item::file("x").mode(0o640).xattr("system.posix_acl_access", acl);
    let world = World::of(
        &Item::directory()
            .with("shared", shared)
            .with("mine", mine)
            .with("theirs", Item::file("secret").mode(0o600))
            .with("closed", Item::directory().mode(0o700).with("f", Item::file("x"))),
    );
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(world.folder.path(), open).unwrap();
    let as_user = |uid: u32, path: &Path| {
        let mut command = std::process::Command::new("setpriv");
        let ids = [format!("--reuid={uid}"), format!("--regid={uid}")];
        command.args(ids).args(["--clear-groups", "cat"]).arg(path);
        command.output().unwrap().status.success()
    };
    let as_nobody = |path: &Path| as_user(65_534, path);
    assert!(as_user(1000, &world.latest("shared")), "the ACL allows it");
    assert!(!as_user(1001, &world.latest("shared")));
    assert!(as_nobody(&world.latest("mine")));
    assert!(!as_nobody(&world.latest("theirs")));
    assert!(!as_nobody(&world.latest("closed/f")));
    assert_eq!(fs::read(world.latest("closed/f")).unwrap(), b"x", "root may");
}

#[test]
fn what_was_changed_in_a_layer_over_it_stays_when_the_kernel_forgets_the_rest() {
    let mut world = World::of(&Item::directory().with("f", Item::file("as it was")));
    // Of a mount that gives out handles, kernels since 6.16 take what they find by one for outdated
    // at the second look.
    assert_eq!(seen_in_a_layer(&world, "all/f"), "as it wasAs it wasAs it wasAs it was");
    world.take_down();
    let options = MountOptions { no_export: true, ..MountOptions::default() };
    let _mounted = fuse::mount(world.open(), &world.mountpoint(), options).unwrap();
    let seen = seen_in_a_layer(&world, "all/f all/f");
    assert_eq!(seen, format!("as it was{}", "As it was".repeat(6)));
}

/// A file before it is changed, and what is read of it after each of three times that the kernel
/// dropped its caches. In a mount namespace of its own, so that nothing stays mounted.
fn seen_in_a_layer(world: &World, files: &str) -> String {
    let script = r#"
        mount -t tmpfs none "$2" && cd "$2" && mkdir up work all
        mount -t overlay none -o "lowerdir=$1,upperdir=$2/up,workdir=$2/work,redirect_dir=on" all
        cat all/f && printf A | dd of=all/f conv=notrunc status=none
        for round in 1 2 3; do echo 3 > /proc/sys/vm/drop_caches; cat $3; done
    "#;
    let scratch = tempfile::tempdir().unwrap();
    let lower = fs::canonicalize(world.latest("")).unwrap();
    let args: [&dyn AsRef<OsStr>; 8] =
        [&"--mount", &"sh", &"-ec", &script, &"sh", &lower, &scratch.path(), &files];
    run("unshare", &args)
}

#[test]
fn names_of_any_bytes_are_found_and_listed() {
    let names: Vec<Vec<u8>> = vec![
        b"\xff\xfe".to_vec(),
        b"new\nline".to_vec(),
        b" ".to_vec(),
        b"-rf".to_vec(),
        b"\x01\x7f\\*?".to_vec(),
        vec![b'n'; 255],
        "\u{e9}\u{1f9ca}".into(),
    ];
    let mut root = Item::directory();
    for name in &names {
        root.add(name, Item::file(name.clone()));
    }
    let world = World::of(&root);
    let listed: HashSet<Vec<u8>> = fs::read_dir(world.latest(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_vec())
        .collect();
    assert_eq!(listed, names.iter().cloned().collect());
    for name in &names {
        assert_eq!(&fs::read(world.latest("").join(OsStr::from_bytes(name))).unwrap(), name);
    }
    assert_eq!(errno(fs::metadata(world.latest("absent"))), libc::ENOENT);
    assert_eq!(errno(fs::metadata(world.latest("absent"))), libc::ENOENT, "cached as absent");
    assert_eq!(errno(fs::metadata(world.latest(&"x".repeat(256)))), libc::ENAMETOOLONG);
}

#[test]
fn a_directory_of_a_hundred_thousand_entries_lists_each_once() {
    let mut root = Item::directory();
    for n in 0..100_000 {
        root.add(format!("entry-{n:06}"), Item::file(""));
    }
    let world = World::of(&root);
    for _ in 0..2 {
        let (mut names, mut inodes) = (HashSet::new(), HashSet::new());
        for entry in fs::read_dir(world.latest("")).unwrap() {
            let entry = entry.unwrap();
            inodes.insert(std::os::unix::fs::DirEntryExt::ino(&entry));
            names.insert(entry.file_name());
        }
        assert_eq!((names.len(), inodes.len()), (100_000, 100_000));
    }
    assert!(fs::metadata(world.latest("entry-099999")).is_ok());
}

#[test]
fn statfs_states_what_is_stored() {
    let bytes = pattern(3_000_000, 17);
    let world = World::of(&Item::directory().with("f", Item::file(bytes)));
    let stat = rustix::fs::statvfs(world.mountpoint()).unwrap();
    let stored = stat.f_blocks * stat.f_frsize;
    assert!((3_000_000..3_200_000).contains(&stored), "{stored}");
    assert_eq!((stat.f_bfree, stat.f_bavail, stat.f_files, stat.f_namemax), (0, 0, 2, 255));
    assert!(stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY));
    assert!(run("df", &[&world.mountpoint()]).contains("icecore:"));
}
