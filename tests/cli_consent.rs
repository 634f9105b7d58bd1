//! Every command that takes something away, or changes what keeps it: the plan comes first, somebody
//! is asked, a dry run leaves each byte as it was, and JSON is all that a program reads.
//!
//! One table over all of them. Guards against a command that goes ahead unasked, a dry run that
//! writes, and words among the JSON.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::Sandbox;
use common::torture::random_bytes;
use serde_json::Value;

/// All files of a folder with the hash of their bytes.
type State = BTreeMap<PathBuf, blake3::Hash>;

struct Said {
    code: i32,
    out: String,
    err: String,
}

struct World {
    sandbox: Sandbox,
}

impl World {
    /// Three snapshots of a source that changes, in a repository with or without keys.
    fn new(encrypted: bool) -> Self {
        let sandbox = if encrypted { Sandbox::new() } else { Sandbox::plain() };
        let source = sandbox.folder("source");
        let world = Self { sandbox };
        let kind: &[&str] = if encrypted { &[] } else { &["--plain"] };
        world.done(&[&["init", "-q", "repository"], kind].concat());
        for n in 0..3 {
            fs::write(source.join("all"), random_bytes(n, 300_000)).unwrap();
            let time = format!("2026-11-2{n}T10:00");
            world.done(&["ingest", "-q", "--host", "h", "--time", &time, "-C", "source", "."]);
        }
        world
    }

    fn run(&self, arguments: &[&str]) -> Said {
        let mut command = self.sandbox.icecore_std();
        command.env("ICECORE_REPOSITORY", "repository").args(arguments).stdin(Stdio::null());
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let (out, err) = (text(output.stdout), text(output.stderr));
        Said { code: output.status.code().unwrap(), out, err }
    }

    fn done(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {}{}", said.out, said.err);
        said.out
    }

    fn at_a_terminal(&self, arguments: &[&str], keys: &str) -> (Option<i32>, String) {
        self.sandbox.at_a_terminal(&[&["-r", "repository"], arguments].concat(), keys)
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.sandbox.path().join("repository").join(name)
    }

    fn state(&self) -> State {
        fn read(folder: &Path, state: &mut State) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => read(&path, state),
                    false => {
                        state.insert(path.clone(), blake3::hash(&fs::read(path).unwrap()));
                    }
                }
            }
        }
        let mut state = State::new();
        read(&self.folder("."), &mut state);
        state
    }

    fn copy(&self, from: &str, to: &str) {
        let path = |name| self.sandbox.path().join(name);
        if path(to).exists() {
            fs::remove_dir_all(path(to)).unwrap();
        }
        assert!(
            Command::new("cp").arg("-a").args([path(from), path(to)]).status().unwrap().success()
        );
    }

    /// Changes a byte in the middle of a file below a folder of the repository.
    fn damage(&self, folder: &str) {
        let mut at = self.folder(folder);
        while at.is_dir() {
            at = fs::read_dir(&at).unwrap().next().unwrap().unwrap().path();
        }
        let mut bytes = fs::read(&at).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(at, bytes).unwrap();
    }
}

/// A command, and what it is shown on.
struct Case {
    encrypted: bool,
    prepare: fn(&World),
    arguments: &'static [&'static str],
    /// Stands in the plan.
    plan: &'static str,
    /// Whether it asks: it does where what it takes away does not come back by the same command.
    asks: bool,
    /// Exit codes of the dry run, and of the whole.
    codes: (i32, i32),
}

fn nothing(_: &World) {}

fn forgotten(world: &World) {
    world.done(&["forget", "--keep-last", "1", "--yes"]);
}

const ASKING: Case = Case {
    encrypted: false,
    prepare: nothing,
    arguments: &[],
    plan: "",
    asks: true,
    codes: (0, 0),
};
const TELLING: Case = Case { asks: false, ..ASKING };

fn cases() -> Vec<Case> {
    vec![
        Case {
            arguments: &["forget", "--keep-last", "1"],
            plan: "keep 1 snapshot, forget 2",
            ..ASKING
        },
        Case { arguments: &["forget", "latest"], plan: "forget 1 snapshot", ..ASKING },
        Case {
            arguments: &["forget", "--keep-last", "1", "--prune"],
            plan: "snapshots  keep 1; delete 2",
            ..ASKING
        },
        Case { prepare: forgotten, arguments: &["prune"], plan: "keep 1; delete 2", ..ASKING },
        Case {
            prepare: forgotten,
            arguments: &["prune", "--grace", "0", "--max-repack", "0"],
            plan: "nothing in it is needed",
            ..ASKING
        },
        Case {
            prepare: |world| world.damage("index"),
            arguments: &["repair", "index"],
            plan: "the index is to be built anew",
            codes: (4, 0),
            ..ASKING
        },
        Case {
            prepare: |world| world.damage("data"),
            arguments: &["repair", "packs"],
            plan: "to be set aside",
            codes: (4, 4),
            ..ASKING
        },
        Case {
            prepare: |world| world.damage("data"),
            arguments: &["repair", "packs", "--forget"],
            plan: "to be set aside",
            codes: (4, 4),
            ..ASKING
        },
        Case {
            prepare: |world| {
                forgotten(world);
                world.damage("forgotten");
            },
            arguments: &["repair", "snapshots"],
            plan: "forgotten/",
            codes: (4, 0),
            ..ASKING
        },
        Case {
            encrypted: true,
            prepare: |world| {
                fs::write(world.sandbox.path().join("new"), "another").unwrap();
                world.done(&["key", "add", "--new-passphrase-file", "new", "--label", "0second"]);
                let list: Value =
                    serde_json::from_str(&world.done(&["key", "list", "--json"])).unwrap();
                let old = list["keys"].as_array().unwrap();
                let second = old.iter().find(|key| key["label"] == "0second").unwrap();
                // Ids are random, and the command names one by its start.
                let id = second["id"].as_str().unwrap();
                fs::write(world.sandbox.path().join("id"), id).unwrap();
            },
            arguments: &["key", "remove", "<id>"],
            plan: "0second",
            ..ASKING
        },
        Case { arguments: &["tag", "latest", "--set", "new"], plan: "tags new", ..TELLING },
        Case { arguments: &["protect", "latest"], plan: "no tags, protected", ..TELLING },
        Case {
            prepare: |world| drop(world.done(&["protect", "latest"])),
            arguments: &["unprotect", "latest"],
            plan: "no tags\n",
            ..TELLING
        },
        Case {
            prepare: forgotten,
            arguments: &["forget", "--undo", "2026-11-20"],
            plan: "would be back",
            ..TELLING
        },
        Case { arguments: &["parity", "--set", "10%", "--build"], plan: "6 packs", ..TELLING },
        Case {
            prepare: |world| drop(world.done(&["parity", "--set", "5%", "--build"])),
            arguments: &["parity", "--off"],
            plan: "off: new packs get none",
            ..TELLING
        },
    ]
}

/// The one JSON document that a text is.
fn document(text: &str, context: &str) -> Value {
    let value: Value =
        serde_json::from_str(text).unwrap_or_else(|err| panic!("{context}: {err}: {text}"));
    assert_eq!(value["schema"], 1, "{context}: {text}");
    value
}

fn check(case: &Case) {
    let world = World::new(case.encrypted);
    (case.prepare)(&world);
    world.copy("repository", "kept");
    let id = fs::read_to_string(world.sandbox.path().join("id")).unwrap_or_default();
    let named = case.arguments.iter().map(|word| if *word == "<id>" { id.as_str() } else { word });
    let arguments: Vec<&str> = named.collect();
    let with = |more: &[&'static str]| [&arguments[..], more].concat();
    let (context, before) = (arguments.join(" "), world.state());
    let same = |when: &str| assert!(world.state() == before, "{context}: changed by {when}");

    let told = world.run(&with(&["--dry-run"]));
    let both = format!("{}{}", told.out, told.err);
    assert!(
        told.code == case.codes.0 && both.contains(case.plan),
        "{context}: {}: {both}",
        told.code
    );
    same("a dry run");
    let told = world.run(&with(&["--dry-run", "--json"]));
    assert_eq!(told.code, case.codes.0, "{context}: {}", told.err);
    assert_eq!(document(&told.out, &context)["dry_run"], true, "{context}: {}", told.out);
    same("a dry run with JSON");

    let yes: &[&str] = if case.asks { &["--yes", "--json"] } else { &["--json"] };
    if case.asks {
        unasked(&world, case, &arguments, &before);
    }
    let done = world.run(&with(yes));
    assert_eq!(done.code, case.codes.1, "{context}: {}", done.err);
    assert_ne!(document(&done.out, &context)["dry_run"], true, "{context}: {}", done.out);
    assert!(world.state() != before, "{context}: nothing was done");
}

/// Nobody is there to ask; somebody is, and says no; somebody says yes.
fn unasked(world: &World, case: &Case, arguments: &[&str], before: &State) {
    let context = arguments.join(" ");
    let refused = world.run(arguments);
    assert_eq!(refused.code, 2, "{context}: {}", refused.err);
    assert!(refused.err.contains("There is nobody to ask"), "{context}: {}", refused.err);
    assert!(refused.err.contains("--yes") && refused.err.contains("--dry-run"), "{context}");
    assert!(format!("{}{}", refused.out, refused.err).contains(case.plan), "{context}");
    let refused = world.run(&[arguments, &["--json"]].concat());
    assert_eq!((refused.code, refused.out.as_str()), (2, ""), "{context}");
    let error = document(&refused.err, &context)["error"].clone();
    assert!(error["hint"].as_str().unwrap().contains("--yes"), "{context}: {error}");
    assert!(world.state() == *before, "{context}: changed unasked");

    let (code, said) = world.at_a_terminal(arguments, "n\n");
    let (plan, question) = (said.find(case.plan), said.find("? [y/N] "));
    assert!(code == Some(1) && plan.is_some() && plan < question, "{context}: {said}");
    assert!(said.contains("nothing was changed"), "{context}: {said}");
    assert!(world.state() == *before, "{context}: changed against an answer");
    let (code, said) = world.at_a_terminal(arguments, "y\n");
    assert_eq!(code, Some(case.codes.1), "{context}: {said}");
    assert!(world.state() != *before, "{context}: {said}");
    world.copy("kept", "repository");
    assert!(world.state() == *before);
}

#[test]
fn what_takes_away_shows_its_plan_and_asks() {
    cases().iter().filter(|case| case.asks).for_each(check);
}

#[test]
fn what_can_be_taken_back_has_a_dry_run_too() {
    cases().iter().filter(|case| !case.asks).for_each(check);
}
