//! Tests of the test support: a comparison that misses a difference would let every other test of
//! fidelity pass, and a torture tree that is quietly incomplete would too.

mod common;

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use common::compare::{Aspect, CompareOptions, assert_same, compare};
use common::torture::{TortureOptions, build, set_mtime};
use common::{Sandbox, require_root, run_ok};
use rustix::fs::{
    CWD, FallocateFlags, FileType, Mode, RenameFlags, XattrFlags, fallocate, lremovexattr,
    lsetxattr, makedev, mknodat, renameat_with,
};

fn build_whole(root: &Path, options: &TortureOptions) {
    require_root();
    let left_out = build(root, options);
    assert!(left_out.is_empty(), "this file system refused:\n{}", left_out.join("\n"));
}

#[test]
fn two_builds_of_the_whole_torture_tree_are_the_same() {
    let sandbox = Sandbox::new();
    let (a, b) = (sandbox.folder("a"), sandbox.folder("b"));
    build_whole(&a, &TortureOptions::default());
    build_whole(&b, &TortureOptions::default());
    assert_same(&a, &b, &CompareOptions { excess_bytes_max: Some(4096), ..Default::default() });
}

#[test]
fn sparse_files_of_the_torture_tree_take_no_space_for_holes() {
    let sandbox = Sandbox::new();
    let root = sandbox.folder("a");
    build_whole(&root, &TortureOptions { only: Some("sparse"), ..Default::default() });
    for (name, size) in [("all-hole", 8 << 20), ("past-4-gib", 5 << 30), ("tebibyte", 1 << 40)] {
        let metadata = fs::metadata(root.join("sparse").join(name)).unwrap();
        assert_eq!(metadata.size(), size, "{name}");
        assert!(metadata.blocks() * 512 < 1 << 20, "{name} takes {} blocks", metadata.blocks());
    }
}

#[test]
fn copy_by_cp_is_the_same() {
    let sandbox = Sandbox::new();
    let (a, b) = (sandbox.folder("a"), sandbox.path().join("b"));
    let options = TortureOptions { big_directory_entries: 500, ..Default::default() };
    build_whole(&a, &options.within_path_max());
    run_ok("cp", &[Path::new("-a"), &a, &b]);
    // cp leaves the attributes of symlinks behind.
    let compared = CompareOptions { symlink_xattrs: false, ..Default::default() };
    assert_same(&a, &b, &compared);
}

#[test]
fn copy_by_rsync_is_the_same() {
    let sandbox = Sandbox::new();
    let (a, b) = (sandbox.folder("a"), sandbox.folder("b"));
    let options = TortureOptions { huge_files: false, ..TortureOptions::small().within_path_max() };
    build_whole(&a, &options);
    let source = format!("{}/", a.display());
    // Without the last option rsync takes times for equal that differ by less than a second.
    let arguments = ["-aHAXS", "--numeric-ids", "--modify-window=-1"];
    run_ok("rsync", &[&arguments[..], &[&source, b.to_str().unwrap()]].concat());
    // It makes holes of zeros that were written.
    assert_same(&a, &b, &CompareOptions { holes: false, ..Default::default() });
}

#[test]
fn missing_tree_is_one_difference_per_entry_up_to_the_limit() {
    let sandbox = Sandbox::new();
    let (a, b) = (sandbox.folder("a"), sandbox.folder("b"));
    for index in 0..10 {
        fs::write(a.join(index.to_string()), b"").unwrap();
    }
    let options = CompareOptions { top_mtime: false, differences_max: 7, ..Default::default() };
    let found = compare(&a, &b, &options);
    assert_eq!(found.len(), 7);
    assert!(found.iter().all(|difference| difference.aspect == Aspect::Presence));
}

/// What a mutation does to the copy, at which path, and every difference that follows from it.
struct Mutation {
    path: &'static str,
    apply: fn(&Path),
    expected: &'static [(&'static str, Aspect)],
}

const fn mutation(
    path: &'static str,
    apply: fn(&Path),
    expected: &'static [(&'static str, Aspect)],
) -> Mutation {
    Mutation { path, apply, expected }
}

#[rustfmt::skip]
const MUTATIONS: &[Mutation] = &[
    mutation("kinds/regular", |p| overwrite(p, 3, b"X"), &[("kinds/regular", Aspect::Content)]),
    mutation("sizes/random-1048577", |p| overwrite(p, 1 << 20, b"!"), &[("sizes/random-1048577", Aspect::Content)]),
    mutation("sparse/tebibyte", |p| overwrite(p, (1 << 39) + (1 << 20) + 8191, b"!"), &[("sparse/tebibyte", Aspect::Content)]),
    mutation("kinds/regular", |p| overwrite(p, 8, b"more"), &[("kinds/regular", Aspect::Size)]),
    mutation("empty/file", |p| overwrite(p, 0, b"x"), &[("empty/file", Aspect::Size)]),
    mutation("kinds/regular", |p| fs::remove_file(p).unwrap(), &[("kinds/regular", Aspect::Presence)]),
    mutation("empty/nested/directory", |p| fs::remove_dir(p).unwrap(), &[("empty/nested/directory", Aspect::Presence)]),
    mutation("kinds/added", |p| fs::write(p, b"").unwrap(), &[("kinds/added", Aspect::Presence)]),
    mutation("names/new\nline", |p| fs::rename(p, p.with_file_name("new line")).unwrap(),
        &[("names/new\nline", Aspect::Presence), ("names/new line", Aspect::Presence)]),
    mutation("kinds/regular", |p| shift_mtime(p, 1), &[("kinds/regular", Aspect::Mtime)]),
    mutation("kinds/symlink", |p| shift_mtime(p, 1), &[("kinds/symlink", Aspect::Mtime)]),
    mutation("kinds/fifo", |p| shift_mtime(p, -1), &[("kinds/fifo", Aspect::Mtime)]),
    mutation("kinds/directory", |p| shift_mtime(p, 1), &[("kinds/directory", Aspect::Mtime)]),
    mutation("", |p| shift_mtime(p, 1), &[("", Aspect::Mtime)]),
    mutation("times/file-00", |p| set_times(p, 1 << 31, 0), &[("times/file-00", Aspect::Mtime)]),
    mutation("kinds/regular", |p| flip_mode(p, 0o001), &[("kinds/regular", Aspect::Mode)]),
    mutation("kinds/regular", |p| flip_mode(p, 0o4000), &[("kinds/regular", Aspect::Mode)]),
    mutation("kinds/directory", |p| flip_mode(p, 0o1000), &[("kinds/directory", Aspect::Mode)]),
    mutation("kinds/regular", |p| lchown(p, Some(1), None).unwrap(), &[("kinds/regular", Aspect::Owner)]),
    mutation("kinds/symlink", |p| lchown(p, None, Some(1)).unwrap(), &[("kinds/symlink", Aspect::Owner)]),
    mutation("xattrs/file", |p| xattr(p, "user.added", b""), &[("xattrs/file", Aspect::Xattr)]),
    mutation("xattrs/file", |p| xattr(p, "user.text", b"valuE"), &[("xattrs/file", Aspect::Xattr)]),
    mutation("xattrs/file", |p| xattr(p, "user.empty", b"\0"), &[("xattrs/file", Aspect::Xattr)]),
    mutation("xattrs/file", |p| lremovexattr(p, "user.empty").unwrap(), &[("xattrs/file", Aspect::Xattr)]),
    mutation("xattrs/symlink", |p| lremovexattr(p, "trusted.icecore-test").unwrap(), &[("xattrs/symlink", Aspect::Xattr)]),
    mutation("xattrs/dir", |p| xattr(p, "security.icecore-test", b""), &[("xattrs/dir", Aspect::Xattr)]),
    mutation("xattrs/capability-2", |p| lremovexattr(p, "security.capability").unwrap(), &[("xattrs/capability-2", Aspect::Xattr)]),
    mutation("acls/dir", |p| lremovexattr(p, "system.posix_acl_default").unwrap(), &[("acls/dir", Aspect::Xattr)]),
    mutation("", |p| xattr(p, "user.added", b""), &[("", Aspect::Xattr)]),
    mutation("kinds/symlink", |p| relink(p, "regulaR"), &[("kinds/symlink", Aspect::Target)]),
    mutation("kinds/null", |p| node_instead(p, FileType::CharacterDevice, makedev(1, 4)), &[("kinds/null", Aspect::Device)]),
    mutation("kinds/fifo", |p| node_instead(p, FileType::Socket, 0), &[("kinds/fifo", Aspect::Kind)]),
    mutation("kinds/disk", |p| node_instead(p, FileType::CharacterDevice, 0), &[("kinds/disk", Aspect::Kind)]),
    mutation("hard-links/b/file", break_link, &[
        ("hard-links/a/file", Aspect::LinkCount), ("hard-links/a/file-again", Aspect::LinkCount),
        ("hard-links/b/file", Aspect::LinkCount), ("hard-links/b/file", Aspect::LinkGroup),
        ("hard-links/z-file", Aspect::LinkCount)]),
    mutation("hard-links/b/fifo", |p| swap_names(p, "socket"), &[
        ("hard-links/b/fifo", Aspect::Kind), ("hard-links/b/socket", Aspect::Kind)]),
    mutation("hard-links/a/empty", |p| swap_names(p, "file"), &[
        ("hard-links/a/empty", Aspect::Size), ("hard-links/a/empty", Aspect::Mtime),
        ("hard-links/a/empty-again", Aspect::LinkGroup), ("hard-links/a/file", Aspect::Size),
        ("hard-links/a/file", Aspect::Mtime), ("hard-links/a/file", Aspect::LinkGroup), ("hard-links/a/file-again", Aspect::LinkGroup),
        ("hard-links/b/empty", Aspect::LinkGroup), ("hard-links/b/file", Aspect::LinkGroup),
        ("hard-links/z-empty", Aspect::LinkGroup), ("hard-links/z-file", Aspect::LinkGroup)]),
    mutation("sparse/hole-in-middle", |p| overwrite(p, 1 << 20, &[0; 4096]), &[("sparse/hole-in-middle", Aspect::Holes)]),
    mutation("sparse/all-hole", |p| overwrite(p, 0, &[0]), &[("sparse/all-hole", Aspect::Holes)]),
    mutation("sparse/written-zeros", |p| punch(p, 4096, 4096), &[("sparse/written-zeros", Aspect::Holes)]),
];

#[test]
fn every_kind_of_mutation_is_found_and_nothing_else() {
    let sandbox = Sandbox::new();
    for (index, mutation) in MUTATIONS.iter().enumerate() {
        let (original, copy) = (sandbox.folder("original"), sandbox.folder("copy"));
        let section = mutation.path.split('/').next().filter(|name| !name.is_empty());
        let options = TortureOptions {
            only: section.or(Some("empty")),
            ..TortureOptions::small().within_path_max()
        };
        build_whole(&original, &options);
        build_whole(&copy, &options);
        let path = if mutation.path.is_empty() { copy.clone() } else { copy.join(mutation.path) };
        keeping_mtime_of_folder(&path, mutation.apply);
        let found: BTreeSet<(PathBuf, Aspect)> = compare(&original, &copy, &Default::default())
            .into_iter()
            .map(|difference| (difference.path, difference.aspect))
            .collect();
        let expected: BTreeSet<(PathBuf, Aspect)> =
            mutation.expected.iter().map(|(path, aspect)| (path.into(), *aspect)).collect();
        assert_eq!(found, expected, "mutation {index} of {:?}", mutation.path);
        fs::remove_dir_all(original).unwrap();
        fs::remove_dir_all(copy).unwrap();
    }
}

#[test]
fn difference_below_path_max_is_found() {
    let sandbox = Sandbox::new();
    let (a, b) = (sandbox.folder("a"), sandbox.folder("b"));
    build_whole(&a, &TortureOptions::small());
    build_whole(&b, &TortureOptions::small());
    let near_the_top = b.join("deep/name-near-the-top");
    keeping_mtime_of_folder(&near_the_top, |p| overwrite(p, 0, b"M"));
    let found = compare(&a, &b, &CompareOptions::default());
    let longest = found.iter().map(|difference| difference.path.as_os_str().len()).max();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(longest > Some(4096), "{longest:?}");
}

#[test]
fn more_space_on_disk_is_found_where_asked_for() {
    let sandbox = Sandbox::new();
    let (a, b) = (sandbox.folder("a"), sandbox.folder("b"));
    fs::write(a.join("file"), vec![0; 1 << 20]).unwrap();
    fs::write(b.join("file"), vec![0; 1 << 20]).unwrap();
    punch(&a.join("file"), 0, 1 << 20);
    let ignoring = CompareOptions {
        mtime: false,
        top_mtime: false,
        holes: false,
        excess_bytes_max: None,
        ..Default::default()
    };
    assert_same(&a, &b, &ignoring);
    let asking = CompareOptions { excess_bytes_max: Some(65_536), ..ignoring };
    let found = compare(&a, &b, &asking);
    assert_eq!(found.iter().map(|d| d.aspect).collect::<Vec<_>>(), [Aspect::Blocks]);
}

#[test]
fn ignored_attributes_are_ignored_by_prefix() {
    let sandbox = Sandbox::new();
    let (a, b) = (sandbox.folder("a"), sandbox.folder("b"));
    xattr(&b, "user.icecore.blake3", b"af1349b9");
    let mut options = CompareOptions { top_mtime: false, ..Default::default() };
    assert_eq!(compare(&a, &b, &options).len(), 1);
    options.xattrs_ignored = vec![b"user.icecore.".to_vec()];
    assert_same(&a, &b, &options);
}

/// Applies a change, and puts back the time of the folder, which adding and removing entries changes.
fn keeping_mtime_of_folder(path: &Path, apply: fn(&Path)) {
    let folder = path.parent().unwrap();
    keeping_mtime(folder, || apply(path));
}

fn keeping_mtime(path: &Path, apply: impl FnOnce()) {
    let before = fs::symlink_metadata(path).unwrap();
    apply();
    set_times(path, before.mtime(), before.mtime_nsec());
}

fn set_times(path: &Path, sec: i64, nsec: i64) {
    set_mtime(CWD, path.as_os_str().as_encoded_bytes(), sec, nsec).unwrap();
}

fn shift_mtime(path: &Path, nsec: i64) {
    let before = fs::symlink_metadata(path).unwrap();
    set_times(path, before.mtime(), (before.mtime_nsec() + nsec).rem_euclid(1_000_000_000));
}

fn overwrite(path: &Path, offset: u64, bytes: &[u8]) {
    keeping_mtime(path, || {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(bytes, offset).unwrap();
    });
}

fn punch(path: &Path, offset: u64, len: u64) {
    keeping_mtime(path, || {
        let file: File = OpenOptions::new().write(true).open(path).unwrap();
        let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(file.as_fd(), mode, offset, len).unwrap();
    });
}

fn flip_mode(path: &Path, bits: u32) {
    let mode = fs::symlink_metadata(path).unwrap().permissions().mode();
    fs::set_permissions(path, fs::Permissions::from_mode(mode ^ bits)).unwrap();
}

fn xattr(path: &Path, name: &str, value: &[u8]) {
    lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

fn relink(path: &Path, target: &str) {
    keeping_mtime(path, || {
        fs::remove_file(path).unwrap();
        symlink(target, path).unwrap();
    });
}

fn node_instead(path: &Path, kind: FileType, device: u64) {
    keeping_mtime(path, || {
        fs::remove_file(path).unwrap();
        mknodat(CWD, path, kind, Mode::from_raw_mode(0o640), device).unwrap();
    });
    fs::set_permissions(path, fs::Permissions::from_mode(0o640)).unwrap();
}

/// The same file under the same name, no longer the same inode as its other names.
fn break_link(path: &Path) {
    keeping_mtime(path, || {
        let (content, mode) = (fs::read(path).unwrap(), fs::metadata(path).unwrap().permissions());
        fs::remove_file(path).unwrap();
        fs::write(path, content).unwrap();
        fs::set_permissions(path, mode).unwrap();
    });
}

/// Two names of one folder change inodes.
fn swap_names(path: &Path, other: &str) {
    let other = path.with_file_name(other);
    renameat_with(CWD, path, CWD, &other, RenameFlags::EXCHANGE).unwrap();
}
