//! Packs that are lost or damaged, as a user meets them: told once, with what to do about it, and
//! that way leads out.
//!
//! Guards against a line for each chunk of a lost pack, which hides all else, and against advice
//! that does not work.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::Sandbox;
use common::torture::random_bytes;

const DIRECTORIES: usize = 12;

/// A source of many directories with a file each, and a repository that holds it.
struct World {
    sandbox: Sandbox,
    source: PathBuf,
}

/// What a command said, and how it ended.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl World {
    fn new() -> Self {
        let sandbox = Sandbox::plain();
        let source = sandbox.folder("source");
        for n in 0..DIRECTORIES {
            fs::create_dir(source.join(format!("d{n}"))).unwrap();
            fs::write(source.join(format!("d{n}/file")), random_bytes(n as u64, 100_000)).unwrap();
        }
        let world = Self { sandbox, source };
        world.sandbox.icecore().args(["init", "--plain", "repository"]).assert().success();
        assert_eq!(world.ingest(&[]).code, Some(0));
        world
    }

    fn run(&self, arguments: &[&str]) -> Said {
        let output = self.sandbox.icecore().args(["-r", "repository"]).args(arguments).output();
        let output = output.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    fn ingest(&self, options: &[&str]) -> Said {
        let source = self.source.to_str().unwrap();
        self.run(&[&["ingest", "--json", "-C", source, "."], options].concat())
    }

    /// The only pack in that folder.
    fn pack(&self, folder: &str) -> PathBuf {
        let mut packs = files(&self.sandbox.path().join("repository").join(folder));
        assert_eq!(packs.len(), 1, "{packs:?}");
        packs.remove(0)
    }

    /// Names of all that a repair or a prune could remove or add, ledger and caches left out.
    fn objects(&self) -> Vec<PathBuf> {
        let folders = ["data", "meta", "index", "snapshots", "forgotten", "gc"];
        let root = self.sandbox.path().join("repository");
        folders.iter().flat_map(|folder| files(&root.join(folder))).collect()
    }

    /// Whether the newest snapshot gives back what the source holds.
    fn assert_latest_is_right(&self) {
        for n in 0..DIRECTORIES {
            let cat = ["-r", "repository", "cat", &format!("latest:/d{n}/file")];
            let output = self.sandbox.icecore().args(cat).output().unwrap();
            assert!(output.stdout == random_bytes(n as u64, 100_000), "d{n}/file");
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn id(pack: &Path) -> String {
    pack.file_name().unwrap().to_str().unwrap().to_owned()
}

fn flip(pack: &Path, places: impl Fn(usize) -> Vec<usize>) {
    let mut bytes = fs::read(pack).unwrap();
    for at in places(bytes.len()) {
        bytes[at] ^= 0x55;
    }
    fs::write(pack, bytes).unwrap();
}

fn damage(pack: &Path) {
    flip(pack, |len| (1000..len).step_by(20_000).collect());
}

/// A footer that cannot be read says nothing of the blocks: each must be looked at all the same.
#[test]
fn damage_behind_a_damaged_footer_is_found() {
    let world = World::new();
    // The trailer has the last 64 bytes, and the footer ends before it.
    flip(&world.pack("data"), |len| vec![1000, len - 100]);
    let said = world.run(&["verify", "--read-data", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let lost = report["affected"].as_array().unwrap();
    assert_eq!(lost.len(), 1, "{report}");
    for n in 0..DIRECTORIES {
        let path = format!("/d{n}/file");
        let said = world
            .sandbox
            .icecore()
            .args(["-r", "repository", "cat"])
            .arg(format!("latest:{path}"))
            .output();
        assert_eq!(said.unwrap().status.success(), lost[0]["path"] != path, "{path}");
    }
}

#[test]
fn a_lost_pack_of_pages_is_said_once_in_an_ingest() {
    let world = World::new();
    let lost = world.pack("meta");
    fs::remove_file(&lost).unwrap();
    let said = world.ingest(&[]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert_eq!(said.err.matches(&id(&lost)).count(), 1, "{}", said.err);
    world.assert_latest_is_right();
}

#[test]
fn a_damaged_segment_is_said_once_in_an_ingest() {
    let world = World::new();
    let segments = files(&world.sandbox.path().join("repository/index"));
    let [segment] = segments.as_slice() else { panic!("{segments:?}") };
    let mut bytes = fs::read(segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(segment, bytes).unwrap();
    fs::remove_dir_all(world.sandbox.path().join("cache")).unwrap();
    let said = world.ingest(&[]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert_eq!(said.err.matches(&id(segment)).count(), 1, "{}", said.err);
    world.assert_latest_is_right();
}

#[test]
fn verify_names_an_object_once_a_line() {
    let world = World::new();
    let [lost, damaged] = ["data", "meta"].map(|folder| world.pack(folder));
    fs::remove_file(&lost).unwrap();
    damage(&damaged);
    for options in [&["verify"][..], &["verify", "--read-data"]] {
        let said = world.run(options);
        assert_eq!(said.code, Some(4));
        for id in [id(&lost), id(&damaged)] {
            assert!(said.err.contains(&id), "{}", said.err);
            for line in said.err.lines() {
                assert!(line.matches(&id).count() <= 1, "{line}");
            }
        }
        let lines = said.err.lines().filter(|line| line.contains(&id(&lost))).count();
        assert_eq!(lines, 1, "one loss, though the index and every file refer to it: {}", said.err);
    }
}

#[test]
fn the_way_out_of_damage_that_is_told_works() {
    let world = World::new();
    let pack = world.pack("data");
    damage(&pack);
    // What is there is taken for whole: nobody reads it all at each ingest.
    let said = world.ingest(&["--force"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let said = world.run(&["verify", "--read-data"]);
    assert_eq!(said.code, Some(4));
    assert!(said.out.contains("lost paths"), "{}", said.out);
    let hint = "hint: `icecore repair packs` heals what can be healed and sets the rest aside; \
                then `icecore ingest --force` the same sources: what they still hold is stored \
                again";
    assert!(said.err.contains(hint), "{}", said.err);
    let said = world.run(&["cat", "latest:/d0/file"]);
    assert_eq!(said.code, Some(4));
    assert!(said.err.contains("ingest --force"), "{}", said.err);

    let said = world.run(&["repair", "packs", "--yes", "--json"]);
    assert_eq!(said.code, Some(4), "{}", said.err);
    let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert!(report["set_aside"] == 1 && report["lost_paths"] == 2 * DIRECTORIES, "{report}");
    let said = world.ingest(&["--force"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(report["files_unchanged"], DIRECTORIES, "{report}");
    world.assert_latest_is_right();
    let said = world.run(&["verify", "--read-data", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(said.code, Some(0), "earlier snapshots are whole again too: {report}");
}

/// Three snapshots in packs of their own, and the largest index segment spoilt. Each pack is whole.
fn without_a_segment(spoil: impl Fn(&Path)) -> World {
    let world = World::new();
    for n in 0..2 {
        fs::write(world.source.join("more"), random_bytes(100 + n, 100_000)).unwrap();
        assert_eq!(world.ingest(&[]).code, Some(0));
    }
    let segments = files(&world.sandbox.path().join("repository/index"));
    let largest = segments.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    spoil(largest);
    world
}

const INDEX_HINT: &str = "hint: `icecore repair index` builds the index anew from the packs";

#[test]
fn what_lies_in_packs_that_no_segment_lists_is_never_taken_for_lost() {
    nothing_is_taken_for_lost(&without_a_segment(|path| fs::remove_file(path).unwrap()));
    nothing_is_taken_for_lost(&without_a_segment(|path| {
        damage(path);
        // Nor does this machine know it from before.
        let cache = path.ancestors().nth(3).unwrap().join("cache");
        fs::remove_dir_all(cache).unwrap();
    }));
}

fn nothing_is_taken_for_lost(world: &World) {
    let before = world.objects();
    for options in [&[][..], &["--forget"], &["--dry-run"]] {
        let said = world.run(&[&["repair", "packs", "--yes"], options].concat());
        assert!(said.code == Some(4) && said.err.contains(INDEX_HINT), "{}{}", said.out, said.err);
        assert_eq!(world.objects(), before, "{options:?}");
    }
    let said = world.run(&["prune", "--yes", "--grace", "0"]);
    assert!(said.code == Some(4) && said.err.contains(INDEX_HINT), "{}", said.err);
    assert_eq!(world.objects(), before);
    let said = world.run(&["repair", "index", "--yes"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let said = world.run(&["verify", "--read-data"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    world.assert_latest_is_right();
}

#[test]
fn a_missing_segment_is_told_with_the_way_out() {
    let world = without_a_segment(|path| fs::remove_file(path).unwrap());
    let segments = files(&world.sandbox.path().join("repository/index"));
    for segment in segments {
        fs::remove_file(segment).unwrap();
    }
    for command in [
        &["verify"][..],
        &["verify", "--read-data"],
        &["ls", "latest"],
        &["ls", "latest:/d0"],
        &["cat", "latest:/d0/file"],
        &["find", "nothing"],
        &["diff", "latest~1", "latest"],
        &["restore", "latest", "--to", "out"],
        &["prune", "--dry-run"],
        &["repair", "snapshots"],
    ] {
        let said = world.run(command);
        assert_eq!(said.code, Some(4), "{command:?}: {}{}", said.out, said.err);
        let hints = said.err.matches(INDEX_HINT).count();
        assert_eq!(hints, 1, "{command:?}: {}{}", said.out, said.err);
    }
}
