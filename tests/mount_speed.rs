//! Rough speeds of tools over a mounted tree, beside the same tools over the source.
//!
//! Run by hand: `ICECORE_TREE=/usr/share cargo test --release --test mount_speed -- --ignored
//! --nocapture`. The tree may hold files, directories and links.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use icecore as lib;

#[allow(dead_code)] // shared
mod mount_tree;
#[allow(dead_code)] // shared
mod mount_world;

use mount_tree::Item;
use mount_world::{NOON, World};

fn item_of(path: &Path, files: &mut (u64, u64)) -> Item {
    let stat = fs::symlink_metadata(path).unwrap();
    let kind = stat.file_type();
    if kind.is_symlink() {
        return Item::symlink(fs::read_link(path).unwrap().as_os_str().as_bytes());
    }
    let mode = stat.permissions().mode() & 0o7777;
    if !kind.is_dir() {
        let bytes = fs::read(path).unwrap_or_default();
        *files = (files.0 + 1, files.1 + bytes.len() as u64);
        return Item::file(bytes).mode(mode);
    }
    let mut item = Item::directory().mode(mode);
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        item.add(entry.file_name().as_bytes(), item_of(&entry.path(), files));
    }
    item
}

fn seconds(script: &str) -> f64 {
    let start = Instant::now();
    let status = Command::new("sh").args(["-c", script]).status().unwrap();
    assert!(status.success(), "{script}");
    start.elapsed().as_secs_f64()
}

#[test]
#[ignore = "measures, proves nothing"]
#[expect(clippy::print_stderr)]
fn speed_of_tools_over_a_mounted_tree() {
    let tree = PathBuf::from(std::env::var_os("ICECORE_TREE").unwrap_or("/usr/include".into()));
    let mut files = (0, 0);
    let root = item_of(&tree, &mut files);
    let mut world = World::new();
    world.commit(&root, NOON);
    eprintln!("{} files, {} MB", files.0, files.1 / 1_000_000);
    let copy = world.folder.path().join("copy");
    let (tree, latest) = (tree.display().to_string(), world.latest("").display().to_string());
    let scripts = |tree: &str| {
        [
            ("find", format!("find {tree} >/dev/null")),
            ("find -size", format!("find {tree} -size +1M >/dev/null")),
            ("tar", format!("tar c -C {tree} . | cat >/dev/null")),
            ("cp -a", format!("cp -a {tree} {}", copy.display())),
        ]
    };
    for (n, (name, script)) in scripts(&latest).into_iter().enumerate() {
        let _ = fs::remove_dir_all(&copy);
        seconds("sync; echo 3 >/proc/sys/vm/drop_caches");
        world.mount();
        let cold = seconds(&script);
        let _ = fs::remove_dir_all(&copy);
        let warm = seconds(&script);
        let remembered = world.remembered();
        seconds("echo 2 >/proc/sys/vm/drop_caches");
        eprintln!("{name:12} remembered {remembered}, after a drop {}", world.remembered());
        world.take_down();
        let _ = fs::remove_dir_all(&copy);
        let source = &scripts(&tree)[n].1;
        seconds("sync; echo 3 >/proc/sys/vm/drop_caches");
        let source_cold = seconds(source);
        eprintln!(
            "{name:12} cold {cold:7.3} s, warm {warm:7.3} s, source cold {source_cold:7.3} s"
        );
    }
}
