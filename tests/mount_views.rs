//! Views on a real mount, with the tools that people use on them.
//!
//! Guards the promises of icecore-mount(1): a version is the file, a difference is a tree that can
//! be copied, texts can be read by `cat` and `grep`, and what icecore knows of an entry is told by
//! name and never copied.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use icecore as lib;

#[allow(dead_code)] // shared
mod mount_tree;
#[allow(dead_code)] // shared
mod mount_world;

use mount_tree::Item;
use mount_world::{NOON, World, run};

fn names(path: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

/// 300 files in ten folders; with `edited`, some of each folder are not as they were.
fn tree(edited: bool) -> Item {
    let mut root = Item::directory();
    for folder in 0..10 {
        let mut item = Item::directory();
        for n in 0..30 {
            let name = format!("{n:02}.txt");
            match (edited, folder * 30 + n) {
                (true, 7 | 299) => {}
                (true, 33) => item.add(name, Item::file("edited")),
                (true, 95) => item.add(name, Item::file(format!("{folder} {n}")).mode(0o600)),
                (true, 120) => item.add(name, Item::symlink(b"01.txt")),
                _ => item.add(name, Item::file(format!("{folder} {n}"))),
            }
        }
        if edited && folder == 5 {
            item.add("new", Item::directory().with("f", Item::file("f")));
        }
        root.add(format!("{folder}"), item);
    }
    root
}

struct Both {
    world: World,
    old: String,
    new: String,
}

impl Both {
    fn new() -> Self {
        let mut world = World::new();
        let old = world.commit(&tree(false), NOON);
        let new = world.commit(&tree(true), NOON + 1);
        world.mount();
        Self { world, old, new }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.world.mountpoint().join(path)
    }

    fn find(&self, path: &str) -> Vec<String> {
        let found = run("find", &[&self.at(path), &"-mindepth", &"1", &"-printf", &"%P %y\\n"]);
        let mut found: Vec<_> = found.lines().map(str::to_owned).collect();
        found.sort_unstable();
        found
    }
}

#[test]
fn a_difference_is_listed_by_find() {
    let both = Both::new();
    let pair = format!("diff/{}..{}", both.old, both.new);
    let added = both.find(&format!("{pair}/added"));
    assert_eq!(added, ["4 d", "4/00.txt l", "5 d", "5/new d", "5/new/f f"]);
    let changed = both.find("diff/latest~1..latest/changed");
    assert_eq!(changed, ["1 d", "1/03.txt f", "3 d", "3/05.txt f"]);
    let removed = both.find(&format!("{pair}/removed"));
    assert_eq!(removed, ["0 d", "0/07.txt f", "4 d", "4/00.txt f", "9 d", "9/29.txt f"]);
    assert_eq!(both.find("diff/latest..latest/changed"), Vec::<String>::new());
}

#[test]
fn a_difference_laid_over_the_old_snapshot_makes_the_new_one() {
    let both = Both::new();
    let target = both.world.folder.path().join("target");
    run("cp", &[&"-a", &both.at(&format!("snapshots/{}", both.old)), &target]);
    let script = r#"
        set -e
        cd "$1"
        (cd "$2/removed" && find . ! -type d -print0) | xargs -0 rm
        cp -a "$2/added/." "$2/changed/." .
    "#;
    let pair = both.at("diff/latest~1..latest");
    run("sh", &[&"-c", &script, &"sh", &target, &pair]);
    let new = both.at("latest/");
    run("diff", &[&"-r", &"--no-dereference", &new, &target]);
    let modes = |at: &Path| {
        let text = run("find", &[&at, &"-printf", &"%P %m %U %G %y %l\\n"]);
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(modes(&new), modes(&target));
}

#[test]
fn a_version_is_the_file_itself() {
    let both = Both::new();
    let versions = both.at("versions/1/03.txt");
    let (old, new) = (format!("{}.txt", both.old), format!("{}.txt", both.new));
    assert_eq!(names(&versions), [old.clone(), new.clone()]);
    for (version, snapshot, text) in [(old, &both.old, "1 3"), (new, &both.new, "edited")] {
        let (version, file) =
            (versions.join(version), both.at(&format!("snapshots/{snapshot}/1/03.txt")));
        let number = |path: &Path| fs::metadata(path).unwrap().ino();
        assert_eq!(number(&version), number(&file));
        assert_eq!(fs::read_to_string(version).unwrap(), text);
    }
    assert_eq!(names(both.at("versions/1/04.txt")), [format!("{}.txt", both.old)]);
    assert_eq!(names(both.at("versions")).len(), 10);
    let all = run("find", &[&both.at("versions"), &"-type", &"f"]);
    assert_eq!(all.lines().count(), 303, "300, two that were edited, one that is new");
}

#[test]
fn texts_are_read_by_cat_and_grep() {
    let both = Both::new();
    let at = both.at(".icecore");
    assert_eq!(names(&at), ["metrics", "status", "status.json"]);
    let status = run("cat", &[&at.join("status")]);
    assert!(status.starts_with("repository"), "{status}");
    let line = run("grep", &[&"^icecore_snapshots ", &at.join("metrics")]);
    assert_eq!(line, "icecore_snapshots 2\n");
    let json: serde_json::Value =
        serde_json::from_slice(&fs::read(at.join("status.json")).unwrap()).unwrap();
    assert_eq!(json["schema"], 1);
    for name in names(&at) {
        let path = at.join(name);
        let text = fs::read(&path).unwrap();
        assert!(!text.is_empty() && text.ends_with(b"\n"), "{}", path.display());
    }
    let refused = fs::write(at.join("status"), "x").unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EROFS));
    let listed = run("ls", &[&both.world.mountpoint()]);
    assert!(!listed.contains("icecore"), "hidden: {listed}");
}

#[test]
fn what_icecore_knows_is_told_by_name_and_never_copied() {
    let both = Both::new();
    let get = |path: &str, name: &str| {
        let name = format!("user.icecore.{name}");
        run("getfattr", &[&"--only-values", &"--absolute-names", &"-n", &name, &both.at(path)])
    };
    assert_eq!(get("latest/1/", "files"), "30");
    assert_eq!(get("latest/", "entries"), "310");
    assert!(both.new.ends_with(&get("latest/1/", "snapshot")[..8]));
    assert_eq!(get("latest/1/03.txt", "blake3"), blake3::hash(b"edited").to_hex().as_str());
    assert_eq!(get("latest/1/03.txt", "stored"), "0");
    let target = both.world.folder.path().join("copied");
    run("cp", &[&"-a", &both.at("latest/1/"), &target]);
    let dump = run("getfattr", &[&"-R", &"-d", &"-m", &"-", &"--absolute-names", &target]);
    assert!(!dump.contains("icecore"), "{dump}");
}

#[test]
fn a_walk_over_views_leaves_nothing_behind() {
    let both = Both::new();
    run("find", &[&both.at("versions"), &"-size", &"+1"]);
    run("find", &[&both.at("diff/"), &"-size", &"+1"]);
    run("cat", &[&both.at(".icecore/status"), &both.at(".icecore/metrics")]);
    assert!(both.world.remembered() > 300);
    // The kernel forgets names from the deepest up, and tells so when it has nothing else to do.
    let start = Instant::now();
    while both.world.remembered() >= 20 {
        let left = both.world.remembered();
        assert!(start.elapsed() < Duration::from_secs(20), "{left} numbers are never forgotten");
        fs::write("/proc/sys/vm/drop_caches", "2").unwrap();
    }
}
