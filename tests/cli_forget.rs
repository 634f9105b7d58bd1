//! Forgetting, tags and protection as a user and a script see them.
//!
//! Guards against a snapshot that goes without anybody having said so: unasked, against its
//! protection, with the last of its group, or in a dry run.

mod common;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use common::Sandbox;
use icecore::format::Time;
use icecore::ops::forget::{self, ForgetOptions};
use icecore::repo::{Marker, OpenOptions, Repository, Session, SnapshotFilter, Writer};
use icecore::storage::LocalStorage;
use icecore::strategy::retention::Rules;
use jiff::tz::TimeZone;
use serde_json::Value;

struct World {
    sandbox: Sandbox,
}

impl World {
    /// A plain repository without snapshots.
    fn new() -> Self {
        let sandbox = Sandbox::plain();
        fs::write(sandbox.folder("source").join("file"), "content").unwrap();
        sandbox.icecore().args(["init", "--plain", "repository"]).assert().success();
        Self { sandbox }
    }

    /// One with a snapshot of each of these times.
    fn of(times: &[&str]) -> Self {
        let world = Self::new();
        for time in times {
            world.ingest(time, "db1");
        }
        world
    }

    fn ingest(&self, time: &str, host: &str) {
        let args = ["ingest", "source", "--quiet", "--host", host, "--time", time];
        self.icecore(&args).assert().success();
    }

    fn icecore(&self, arguments: &[&str]) -> assert_cmd::Command {
        let mut command = self.sandbox.icecore();
        command.env("ICECORE_REPOSITORY", "repository").args(arguments);
        command
    }

    fn stdout(&self, arguments: &[&str]) -> String {
        let output = self.icecore(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let value: Value = serde_json::from_str(&self.stdout(arguments)).unwrap();
        assert_eq!(value["schema"], 1, "{arguments:?}");
        value
    }

    /// Exit code and standard error of what fails.
    fn fails(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.icecore(arguments).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    /// Times of the snapshots that are listed, to the minute.
    fn times(&self, more: &[&str]) -> Vec<String> {
        let list = self.json(&[&["snapshots", "--json"], more].concat());
        let all = list["snapshots"].as_array().unwrap();
        all.iter().map(|each| each["time"].as_str().unwrap()[..16].to_owned()).collect()
    }

    fn id(&self, name: &str) -> String {
        let list = self.json(&["snapshots", "--json", name]);
        list["snapshots"][0]["id"].as_str().unwrap()[..8].to_owned()
    }
}

const FIVE: [&str; 5] = [
    "2026-11-18T10:00",
    "2026-11-20T10:00",
    "2026-11-20T20:00",
    "2026-11-21T10:00",
    "2026-11-22T23:30",
];

#[test]
fn rules_say_why_each_snapshot_stays_and_a_dry_run_changes_nothing() {
    let world = World::of(&FIVE);
    let rules = ["forget", "--keep-daily", "3", "--keep-last", "2", "--json"];
    let plan = world.json(&[&rules[..], &["--dry-run"]].concat());
    assert_eq!(plan["dry_run"], true);
    assert_eq!((&plan["kept_count"], &plan["forget_count"]), (&3.into(), &2.into()));
    assert_eq!(plan["forgotten"], Value::Array(Vec::new()));
    let group = &plan["groups"][0];
    assert_eq!(group["host"], "db1");
    let reasons: Vec<_> = group["keep"].as_array().unwrap().iter().map(|s| &s["reasons"]).collect();
    let expected = [
        serde_json::json!(["daily 2026-11-20"]),
        serde_json::json!(["last 2", "daily 2026-11-21"]),
        serde_json::json!(["last 1", "daily 2026-11-22"]),
    ];
    assert_eq!(reasons, expected.iter().collect::<Vec<_>>());
    assert_eq!(world.times(&[]), FIVE);

    let done = world.json(&[&rules[..], &["--yes"]].concat());
    assert_eq!(done["dry_run"], false);
    assert_eq!(done["forgotten"].as_array().unwrap().len(), 2);
    assert_eq!(world.times(&[]), FIVE[2..]);
    assert_eq!(world.times(&["--forgotten"]), FIVE[..2]);
    let again = world.json(&[&rules[..], &["--yes"]].concat());
    assert_eq!(again["forgotten"], Value::Array(Vec::new()), "what was kept is kept");
}

#[test]
fn days_are_those_of_the_zone_that_is_named() {
    let world = World::of(&FIVE);
    let plan = |zone| {
        let args = ["forget", "--keep-daily", "1", "--time-zone", zone, "-n", "--json"];
        world.json(&args)["groups"][0]["keep"][0]["reasons"][0].clone()
    };
    assert_eq!(plan("UTC"), "daily 2026-11-22");
    assert_eq!(plan("Europe/Berlin"), "daily 2026-11-23");
    let (code, said) = world.fails(&["forget", "--keep-daily", "1", "--time-zone", "Mars"]);
    assert_eq!(code, 2);
    assert!(said.contains("\"Mars\" is not a time zone"), "{said}");
}

#[test]
fn nothing_is_forgotten_unasked() {
    let world = World::of(&FIVE);
    let cases: [(&[&str], i32, &str); 8] = [
        (&["--keep-last", "1"], 2, "Forget 4 snapshots? There is nobody to ask"),
        (&["latest"], 2, "Forget 1 snapshot? There is nobody to ask"),
        (&["--keep-last", "1", "--json"], 2, "with --json nobody is asked"),
        (&["--yes"], 2, "no rule says what to keep"),
        (&["--keep-last", "0", "--yes"], 2, "no rule says what to keep"),
        (&["--unsafe-allow-remove-all", "--yes"], 2, "would forget everything"),
        (&["latest", "--keep-last", "1", "--yes"], 2, "cannot be used with"),
        (&["--keep-within", "30", "--yes"], 2, "is not a span"),
    ];
    for (args, exit, why) in cases {
        let (code, said) = world.fails(&[&["forget"], args].concat());
        assert_eq!(code, exit, "{args:?}: {said}");
        assert!(said.contains(why), "{args:?}: {said}");
    }
    assert_eq!(world.times(&[]), FIVE);
    // What there is nothing to ask about is no question.
    assert!(world.stdout(&["forget", "--keep-last", "9"]).ends_with("forgot 0 snapshots\n"));
}

#[test]
fn a_person_at_a_terminal_is_shown_the_plan_and_asked() {
    let world = World::of(&FIVE[..2]);
    let forget = ["-r", "repository", "forget", "--keep-last", "1"];
    for keys in ["n\n", "\n"] {
        let (code, said) = world.sandbox.at_a_terminal(&forget, keys);
        assert_eq!(code, Some(1), "{said}");
        let plan = said.find("keep 1 snapshot, forget 1\n");
        let question = said.find("Forget 1 snapshot? [y/N] icecore: nothing was changed\n");
        assert!(plan.is_some() && plan < question, "{said}");
        assert_eq!(world.times(&[]), FIVE[..2]);
    }
    let (code, said) = world.sandbox.at_a_terminal(&forget, "yes\n");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.ends_with("[y/N] forgot 1 snapshot\n"), "{said}");
    assert_eq!(world.times(&[]), FIVE[1..2]);
}

#[test]
fn a_group_is_emptied_only_on_purpose() {
    let world = World::of(&FIVE[..2]);
    world.ingest(FIVE[2], "db2");
    let rules = ["forget", "--keep-tag", "release", "--yes"];
    for more in [&[][..], &["--dry-run"]] {
        let (code, said) = world.fails(&[&rules[..], more].concat());
        assert_eq!(code, 1);
        assert!(said.contains("the rules keep none of 2 snapshots (host db1, sources "), "{said}");
        assert!(said.contains("hint: nothing was forgotten; if that is meant"), "{said}");
    }
    assert_eq!(world.times(&[]), FIVE[..3]);
    // One group of all: the tag keeps one of it.
    world.stdout(&["tag", "latest", "--add", "release"]);
    world.stdout(&["forget", "--keep-tag", "release", "--group-by", "none", "--yes"]);
    assert_eq!(world.times(&[]), [FIVE[2]]);
    world.stdout(&["forget", "--unsafe-allow-remove-all", "--host", "db2", "--yes"]);
    assert!(world.times(&[]).is_empty());
    assert_eq!(world.times(&["--forgotten"]), FIVE[..3]);
}

#[test]
fn what_was_forgotten_comes_back() {
    let world = World::of(&FIVE);
    let id = world.id("latest");
    let text = world.stdout(&["forget", &id, "--yes"]);
    assert!(text.ends_with("forget 1 snapshot\nforgot 1 snapshot\n"), "{text}");
    let (code, said) = world.fails(&["ls", &id]);
    assert_eq!(code, 1);
    assert!(said.contains(&format!("no snapshot \"{id}\"")), "{said}");
    assert_eq!(world.times(&["--forgotten", "latest"]), [FIVE[4]]);
    let (code, said) = world.fails(&["forget", "--undo", "latest~1"]);
    assert_eq!(code, 1, "{said}");
    assert_eq!(world.stdout(&["forget", "--undo", &id]), format!("{id} is back\n"));
    assert_eq!(world.times(&[]), FIVE);
    world.stdout(&["verify"]);
}

#[test]
fn a_protected_snapshot_is_never_forgotten() {
    let world = World::of(&FIVE);
    let id = world.id("latest~4");
    assert_eq!(world.stdout(&["protect", &id]), format!("{id}  no tags, protected\n"));
    assert_eq!(world.stdout(&["protect", &id]), format!("{id}  no tags, protected (as before)\n"));
    let (code, said) = world.fails(&["forget", &id, "latest", "--yes"]);
    assert_eq!(code, 1);
    assert!(
        said.contains(&format!("snapshot {id} is protected: `icecore unprotect {id}`")),
        "{said}"
    );
    let text = world.stdout(&["forget", "--keep-last", "1", "--yes"]);
    assert!(text.contains("protected"), "{text}");
    assert_eq!(world.times(&[]), [FIVE[0], FIVE[4]]);
    let list = world.stdout(&["snapshots"]);
    assert_eq!(list.lines().filter(|line| line.contains(" P ")).count(), 1, "{list}");
    assert_eq!(world.json(&["snapshots", "--json"])["snapshots"][0]["protected"], true);
    world.stdout(&["unprotect", &id]);
    world.stdout(&["forget", &id, "--yes"]);
    assert_eq!(world.times(&[]), [FIVE[4]]);
}

#[test]
fn what_is_protected_after_the_plan_is_left_alone() {
    let world = World::of(&FIVE[..3]);
    let storage = LocalStorage::open(&world.sandbox.path().join("repository")).unwrap();
    let repo = Repository::open(Arc::new(storage), None, &OpenOptions::default()).unwrap();
    let options = ForgetOptions {
        names: Vec::new(),
        filter: SnapshotFilter::default(),
        rules: Rules { last: 1, ..Rules::default() },
        zone: TimeZone::UTC,
        allow_remove_all: false,
    };
    let now = icecore::clock::now();
    let plan = forget::plan(&repo, &options, now).unwrap();
    let [first, second] = plan.to_forget().collect::<Vec<_>>()[..] else { panic!("{plan:?}") };
    world.stdout(&["protect", &first.to_string()]);
    let by = Marker { host: "h".into(), now };
    let done = forget::run(&repo, &plan, &by, &AtomicBool::new(false)).unwrap();
    assert_eq!((done.forgotten, done.protected), (vec![second], vec![first]));
    assert_eq!(world.times(&[]), [FIVE[0], FIVE[2]]);
    let interrupted = forget::run(&repo, &plan, &by, &AtomicBool::new(true));
    assert!(matches!(interrupted, Err(icecore::ops::OpError::Interrupted)));
}

#[test]
fn tags_are_changed_and_everybody_goes_by_them() {
    let world = World::of(&FIVE);
    let id = world.id("latest~1");
    world.stdout(&["tag", &id, "--add", "release", "--add", "v2"]);
    assert_eq!(world.times(&["--tag", "release", "--tag", "v2"]), [FIVE[3]]);
    assert_eq!(world.stdout(&["tag", &id, "--remove", "v2"]), format!("{id}  tags release\n"));
    assert!(world.times(&["--tag", "v2"]).is_empty());
    let names = world.stdout(&["ls", "latest", "--tag", "release"]);
    assert!(!names.is_empty());
    let changed = world.json(&["tag", &id, "latest", "--set", "x", "--json"]);
    assert_eq!(changed["snapshots"][1]["tags"], serde_json::json!(["x"]));
    assert_eq!(world.times(&["--tag", "x"]), FIVE[3..]);
    world.stdout(&["tag", &id, "--set", ""]);
    assert_eq!(world.times(&["--tag", "x"]), [FIVE[4]]);
    for odd in [
        &["tag", "latest", "--add", "a,b"][..],
        &["tag", "latest", "--set", "a,b"],
        &["tag", "latest", "--add", ""],
        &["forget", "--keep-tag", "a,,b", "-n"],
        &["forget", "--keep-tag", "", "-n"],
    ] {
        assert_eq!(world.fails(odd).0, 2, "{odd:?}");
    }
    let none = world.fails(&["tag", "latest"]);
    assert_eq!(none.0, 2, "{}", none.1);
    let (code, said) = world.fails(&["tag", "latest", "2020-01-01", "--add", "y"]);
    assert_eq!(code, 1, "{said}");
    assert!(world.times(&["--tag", "y"]).is_empty(), "all of them or none");
}

#[test]
fn a_damaged_mark_is_named_and_forgets_nothing() {
    let world = World::of(&FIVE[..2]);
    world.stdout(&["forget", "latest", "--yes"]);
    let folder = world.sandbox.path().join("repository/forgotten");
    let mark = fs::read_dir(folder).unwrap().next().unwrap().unwrap();
    let object = format!("forgotten/{}", mark.file_name().to_str().unwrap());
    let mut bytes = fs::read(mark.path()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(mark.path(), bytes).unwrap();
    for args in [&["snapshots"][..], &["verify"], &["forget", "--keep-last", "9"]] {
        let (code, said) = world.fails(args);
        assert_eq!(code, 4, "{args:?}: {said}");
        assert!(said.contains(&object), "{args:?}: {said}");
    }
    let output = world.icecore(&["snapshots", "--json"]).output().unwrap();
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(list["snapshots"].as_array().unwrap().len(), 2);
    world.icecore(&["forget", "latest", "--yes"]).assert().code(4);
    world.stdout(&["verify"]);
    assert_eq!(world.times(&[]), FIVE[..1]);
}

/// What writers left that were stopped: it goes an hour after the grace, or after a day where anybody
/// writes; until then its writer may live.
#[test]
fn prune_deletes_temporary_files_that_nobody_can_be_writing() {
    let world = World::of(&["2026-11-01"]);
    let root = world.sandbox.path().join("repository");
    let hours = [0, 2, 18, 20, 24, 26];
    let leave = || {
        for age in hours {
            let path = root.join(format!("data/.tmp-{age:016x}"));
            fs::write(&path, [0; 100]).unwrap();
            let file = fs::File::options().write(true).open(&path).unwrap();
            let ago = std::time::Duration::from_secs(age * 3600 + 60);
            file.set_modified(std::time::SystemTime::now() - ago).unwrap();
        }
    };
    let left = || -> Vec<u64> {
        let there = |age: &u64| root.join(format!("data/.tmp-{age:016x}")).exists();
        hours.into_iter().filter(there).collect()
    };
    leave();
    let stats = world.json(&["stats", "--json"]);
    assert_eq!(
        (&stats["temporaries"]["count"], &stats["temporaries"]["bytes"]),
        (&6.into(), &600.into())
    );
    assert!(world.stdout(&["stats"]).contains("600 B in 6 files, beside the objects"));
    let plan = world.json(&["prune", "--dry-run", "--json"]);
    assert_eq!(plan["plan"]["temporaries"]["files"], 3, "{plan}");
    assert_eq!(left(), hours, "a dry run deletes nothing");
    let done = world.json(&["prune", "--yes", "--json"]);
    assert_eq!((&done["done"]["deleted_temporaries"], left()), (&3.into(), vec![0, 2, 18]));
    leave();
    let done = world.json(&["prune", "--yes", "--grace", "0", "--json"]);
    assert_eq!((&done["done"]["deleted_temporary_bytes"], left()), (&500.into(), vec![0]));
    // A session of another machine, which may live.
    leave();
    let storage = Arc::new(LocalStorage::open(&root).unwrap());
    let repo = Repository::open(storage, None, &OpenOptions::default()).unwrap();
    let writer = Writer { host: "elsewhere".into(), pid: 1 };
    let session = Session::begin(&repo, writer, Time { secs: 1_795_000_000, nanos: 0 }).unwrap();
    let plan = world.json(&["prune", "--dry-run", "--json"]);
    assert_eq!(plan["plan"]["temporaries"]["files"], 1, "{plan}");
    session.abandon();
}

#[test]
fn what_is_not_forgotten_is_not_brought_back_and_what_all_is_is_named() {
    let world = World::of(&["2026-11-01", "2026-11-02"]);
    let (code, said) = world.fails(&["forget", "--undo", "latest"]);
    assert!(code == 1 && said.contains("is not forgotten"), "{said}");
    let (code, said) = world.fails(&["forget", "--undo", "nosuch"]);
    assert!(code == 1 && said.contains("no snapshot") && said.contains("--forgotten"), "{said}");
    world.stdout(&["forget", "latest", "latest~1", "--yes"]);
    let (code, said) = world.fails(&["forget", "latest", "--yes"]);
    assert!(
        code == 1 && said.contains("`icecore snapshots` lists them, with --forgotten"),
        "{said}"
    );
}
