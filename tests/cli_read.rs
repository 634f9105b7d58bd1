//! The commands that read, and restore and mount, as a user and a script see them.
//!
//! Guards against names that break a terminal or a script, against JSON that loses bytes or its
//! schema, and against content that is not the source's.

mod common;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use common::Sandbox;
use serde_json::Value;

const ODD: &[u8] = b"odd \xff\x1b[2J\nname";

/// A plain repository with one snapshot of a small tree, and the tree.
struct World {
    sandbox: Sandbox,
    source: PathBuf,
}

impl World {
    fn new() -> Self {
        let sandbox = Sandbox::plain();
        let source = sandbox.folder("source");
        fs::create_dir(source.join("below")).unwrap();
        fs::write(source.join("below/model.pt"), vec![7; 300_000]).unwrap();
        fs::write(source.join(OsStr::from_bytes(ODD)), "odd").unwrap();
        fs::File::create(source.join("hole")).unwrap().set_len(3 << 20).unwrap();
        std::os::unix::fs::symlink("nowhere", source.join("link")).unwrap();
        sandbox.icecore().args(["init", "--plain", "repository"]).assert().success();
        let world = Self { sandbox, source };
        world.ingest();
        world
    }

    fn ingest(&self) {
        let args = ["ingest", "source", "--quiet", "--tag", "a tag", "--host", "elsewhere"];
        self.icecore(&args).assert().success().stdout("").stderr("");
    }

    fn icecore(&self, arguments: &[&str]) -> assert_cmd::Command {
        let mut command = self.sandbox.icecore();
        command.env("ICECORE_REPOSITORY", "repository").args(arguments);
        command
    }

    fn stdout(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.icecore(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        output.stdout
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let value: Value = serde_json::from_slice(&self.stdout(arguments)).unwrap();
        assert_eq!(value["schema"], 1, "{arguments:?}");
        value
    }

    fn lines(&self, arguments: &[&str]) -> Vec<Value> {
        let text = String::from_utf8(self.stdout(arguments)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn at(&self, below: &str) -> String {
        format!("latest:{}{below}", self.source.display())
    }
}

#[test]
fn ls_gives_raw_names_and_lossless_json() {
    let world = World::new();
    let zero = world.stdout(&["ls", "-0", &world.at("")]);
    let names: Vec<&[u8]> = zero.split(|&byte| byte == 0).filter(|name| !name.is_empty()).collect();
    assert_eq!(names, [b"below", b"hole".as_slice(), b"link", ODD]);

    let entries = world.lines(&["ls", "-R", "--json", &world.at("")]);
    assert_eq!(entries.len(), 5);
    assert!(entries.iter().all(|entry| entry["schema"] == 1));
    let by_type = |kind: &str| entries.iter().find(|entry| entry["type"] == kind).unwrap();
    assert_eq!(by_type("symlink")["target"], "nowhere");
    assert_eq!(by_type("directory")["totals"]["size"], 300_000);
    let odd = entries.iter().find(|entry| entry["size"] == 3).unwrap();
    let whole = [world.source.as_os_str().as_bytes(), b"/", ODD].concat();
    let digits: String = whole.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(odd["path"]["bytes_hex"], digits.as_str());
    assert_eq!(odd["blake3"], blake3::hash(b"odd").to_hex().as_str());

    let long =
        String::from_utf8_lossy(&world.stdout(&["ls", "-l", &world.at("/link")])).into_owned();
    assert!(long.starts_with("lrwxrwxrwx ") && long.ends_with("link -> nowhere\n"), "{long}");
}

#[test]
fn find_gives_each_version_once_in_a_form_that_cat_takes() {
    let world = World::new();
    fs::write(world.source.join("below/new"), "new").unwrap();
    world.ingest();
    let found = String::from_utf8(world.stdout(&["find", "*.pt"])).unwrap();
    let [only] = found.lines().collect::<Vec<_>>()[..] else { panic!("{found}") };
    assert_eq!(world.stdout(&["cat", only]), vec![7; 300_000]);
    let count = |arguments: &[&str]| world.lines(arguments).len();
    assert_eq!(count(&["find", "--json", "--every", "*.pt"]), 2);
    assert_eq!(count(&["find", "--json", "--snapshot", "latest~1", "new"]), 0);
    assert_eq!(count(&["find", "--json", "-i", "MODEL*", "--host", "elsewhere"]), 1);
    assert_eq!(count(&["find", "--json", "*", "--host", "nobody"]), 0);
    assert_eq!(count(&["find", "--json", "--type", "l", "*"]), 1);
    fs::write(world.source.join("below/model.pt"), "other").unwrap();
    world.ingest();
    assert_eq!(count(&["find", "--json", "*.pt"]), 2, "another content is another version");
}

#[test]
fn cat_gives_content_with_holes_as_zeros() {
    let world = World::new();
    let both = world.stdout(&["cat", &world.at("/hole"), &world.at("/below/model.pt")]);
    assert_eq!(both, [vec![0; 3 << 20], vec![7; 300_000]].concat());
    let name = [b"latest:".as_slice(), world.source.as_os_str().as_bytes(), b"/", ODD].concat();
    let output = world.icecore(&["cat"]).arg(OsString::from_vec(name)).output().unwrap();
    assert_eq!(output.stdout, b"odd");
    let output = world.icecore(&["cat", "--json", &world.at("/hole")]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!((&report["schema"], &report["files"][0]["size"]), (&1.into(), &(3 << 20).into()));
}

#[test]
fn every_report_has_a_schema_and_quiet_says_nothing() {
    let world = World::new();
    let to = world.sandbox.path().join("copy");
    let to = to.to_str().unwrap();
    let snapshots = world.json(&["snapshots", "--json"]);
    assert_eq!(snapshots["snapshots"][0]["tags"][0], "a tag");
    assert_eq!(snapshots["snapshots"][0]["totals"]["files"], 3);
    let stats = world.json(&["stats", "--json"]);
    assert_eq!(stats["totals"]["size"], (3 << 20) + 300_003);
    assert_eq!(stats["totals"]["data"], 300_003);
    assert_eq!(world.json(&["stats", "--json", &world.at("/hole")])["totals"]["size"], 3 << 20);
    assert_eq!(world.json(&["verify", "--json", "--read-data"])["clean"], true);
    assert_eq!(world.json(&["ingest", "--json", "-n", "source"])["snapshot"], Value::Null);
    let restored = world.json(&["restore", "--json", &world.at(""), "--to", to]);
    assert_eq!((&restored["files_written"], &restored["troubles_count"]), (&3.into(), &0.into()));
    let init = world.json(&["init", "--plain", "--json", "other"]);
    assert_eq!(init["encrypted"], false);
    for arguments in [
        &["verify", "-q"][..],
        &["ingest", "-q", "source"],
        &["restore", "-q", &world.at(""), "--to", to],
        &["init", "-q", "--plain", "third"],
    ] {
        assert!(world.stdout(arguments).is_empty(), "{arguments:?}");
    }
}

fn same(a: &Path, b: &Path) {
    let mut diff = std::process::Command::new("diff");
    let output = diff.args(["-r", "--no-dereference"]).args([a, b]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn restore_makes_the_directory_what_the_path_was() {
    let world = World::new();
    let to = world.sandbox.path().join("copy");
    world.stdout(&["restore", &world.at(""), "--to", to.to_str().unwrap(), "--verify"]);
    same(&world.source, &to);
}

#[test]
fn streams_and_lists_are_sources_too() {
    let world = World::new();
    world.icecore(&["ingest", "-q", "--stdin", "db.sql"]).write_stdin("data").assert().success();
    assert_eq!(world.stdout(&["cat", "latest:/db.sql"]), b"data");
    let command = ["ingest", "-q", "--command", "dir/out", "--", "sh", "-c", "printf made"];
    world.stdout(&command);
    assert_eq!(world.stdout(&["cat", "latest:/dir/out"]), b"made");
    let list = "below/model.pt\0hole\0";
    let from = ["ingest", "-q", "-C", "source", "--files-from", "-"];
    world.icecore(&from).write_stdin(list).assert().success();
    assert_eq!(world.stdout(&["ls", "-R", "latest"]), b"/below\n/below/model.pt\n/hole\n");
    world.stdout(&[
        "ingest",
        "-q",
        "-C",
        "source",
        ".",
        "-e",
        "*.pt",
        "--exclude-larger-than",
        "1M",
    ]);
    let names = world.stdout(&["ls", "-0", "latest"]);
    assert_eq!(names, [b"below\0link\0".as_slice(), ODD, b"\0"].concat());
}
