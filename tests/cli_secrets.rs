//! Where secrets come from, and the life of keys.
//!
//! Guards against a secret that is taken from the wrong place, and against locking oneself out.

mod common;

use std::fs;

use assert_cmd::Command;
use common::{PASSPHRASE, Sandbox};

/// `icecore` without a passphrase from the sandbox.
fn bare(sandbox: &Sandbox) -> Command {
    let mut command = sandbox.icecore();
    command.env_remove("ICECORE_PASSPHRASE").env("ICECORE_REPOSITORY", "repository");
    command
}

fn said(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn keys(command: &mut Command) -> Vec<(String, String, bool)> {
    let output = command.args(["key", "list", "--json"]).output().unwrap();
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["schema"], 1);
    let keys = value["keys"].as_array().unwrap().iter();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    keys.map(|key| (text(&key["id"]), text(&key["label"]), key["in_use"].as_bool().unwrap()))
        .collect()
}

#[test]
fn passphrase_opens_from_each_place_and_flags_come_first() {
    let sandbox = Sandbox::new();
    sandbox.icecore().args(["init", "repository", "-q"]).assert().success();
    let file = sandbox.path().join("passphrase");
    fs::write(&file, format!("{PASSPHRASE}\n")).unwrap();
    let file = file.to_str().unwrap();
    let cat = format!("cat {file}");
    for flags in [["--passphrase-file", file], ["--passphrase-command", &cat]] {
        bare(&sandbox).args(flags).arg("snapshots").assert().success();
        // After the command too, and before what the environment says.
        let wrong = ("ICECORE_PASSPHRASE", "wrong");
        bare(&sandbox).env(wrong.0, wrong.1).arg("snapshots").args(flags).assert().success();
    }
    for (name, value) in [
        ("ICECORE_PASSPHRASE", PASSPHRASE),
        ("ICECORE_PASSPHRASE_FILE", file),
        ("ICECORE_PASSPHRASE_COMMAND", &cat),
    ] {
        bare(&sandbox).env(name, value).arg("snapshots").assert().success();
    }
    let both = ["--passphrase-file", file, "snapshots", "--passphrase-command", &cat];
    bare(&sandbox).args(both).assert().code(2);
}

#[test]
fn wrong_and_missing_keys_are_exit_12() {
    let sandbox = Sandbox::new();
    sandbox.icecore().args(["init", "repository", "-q"]).assert().success();
    let (code, text) = said(bare(&sandbox).env("ICECORE_PASSPHRASE", "wrong").arg("ls"));
    assert_eq!(code, Some(12));
    assert!(text.starts_with("icecore: the key does not open ") && text.contains("\n  hint: "));

    // No terminal in a session of its own.
    let mut command = Command::new("setsid");
    command.args(["-w", env!("CARGO_BIN_EXE_icecore"), "-r", "repository", "ls"]);
    let (code, text) = said(command.env_remove("ICECORE_PASSPHRASE").current_dir(sandbox.path()));
    assert_eq!(code, Some(12), "{text}");
    assert!(
        text.contains(" is encrypted, and no key was given\n  hint: give --key-file, "),
        "{text}"
    );

    let mut command = Command::new("setsid");
    command.args(["-w", env!("CARGO_BIN_EXE_icecore"), "init", "other"]);
    let (code, text) = said(command.env_remove("ICECORE_PASSPHRASE").current_dir(sandbox.path()));
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("--plain makes a repository without encryption"), "{text}");
    assert!(!sandbox.path().join("other").exists());
}

#[test]
fn passphrase_is_asked_for_twice_and_then_once() {
    let sandbox = Sandbox::plain();
    let on = |command, keys| sandbox.at_a_terminal(&["-r", "repository", command], keys);
    let (code, text) = on("init", "one\ntwo\n");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("icecore: the passphrases are not the same\n"), "{text}");
    assert!(!sandbox.path().join("repository").exists());
    let (code, text) = on("init", "one\none\n");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("passphrase of the new repository: "), "{text}");
    let (code, text) = on("snapshots", "one\n");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("no snapshots"), "{text}");
    assert_eq!(on("snapshots", "two\n").0, Some(12));
    assert_eq!(on("snapshots", "\n").0, Some(1), "an empty one is refused");
}

#[test]
fn empty_passphrases_and_short_key_files_are_refused() {
    let sandbox = Sandbox::new();
    let empty = sandbox.path().join("empty");
    fs::write(&empty, "\n").unwrap();
    let short = sandbox.path().join("short");
    fs::write(&short, [7; 15]).unwrap();
    let init = |sandbox: &Sandbox| {
        let mut command = bare(sandbox);
        command.arg("init");
        command
    };
    let (code, text) = said(init(&sandbox).env("ICECORE_PASSPHRASE", ""));
    assert_eq!((code, text.as_str()), (Some(1), "icecore: ICECORE_PASSPHRASE is empty\n"));
    init(&sandbox).arg("--passphrase-file").arg(&empty).assert().code(1);
    let (code, text) = said(init(&sandbox).arg("--key-file").arg(&short));
    assert_eq!(code, Some(1));
    assert!(text.contains("has 15 bytes, at least 16 are needed"), "{text}");
    let (code, text) = said(init(&sandbox).args(["--key-file", "none"]));
    let expected =
        "icecore: no key file none\n  hint: `head -c 32 /dev/urandom > none` makes one\n";
    assert_eq!((code, text.as_str()), (Some(1), expected));
    let (code, text) = said(init(&sandbox).args(["--passphrase-command", "exit 3"]));
    assert_eq!(code, Some(1));
    assert!(text.contains("the passphrase command failed: exit status: 3"), "{text}");
    assert!(!sandbox.path().join("repository").exists(), "nothing is made before the key is good");
}

#[test]
fn plain_repositories_need_and_have_no_keys() {
    let sandbox = Sandbox::new();
    bare(&sandbox).args(["init", "--plain"]).assert().success();
    bare(&sandbox).arg("snapshots").assert().success();
    // Somebody who replaces the config must not make a writer store plain bytes.
    let (code, text) = said(sandbox.icecore().args(["-r", "repository", "snapshots"]));
    assert_eq!(code, Some(12));
    assert!(text.contains("a key was given, and") && text.contains("is not encrypted"), "{text}");
    let (code, text) = said(bare(&sandbox).args(["key", "list"]));
    assert_eq!(code, Some(1));
    assert!(text.ends_with("is not encrypted, it has no keys\n"), "{text}");
    bare(&sandbox).args(["init", "--plain", "--key-file", "x", "other"]).assert().code(2);
    let (code, text) = said(bare(&sandbox).args(["init", "--plain"]));
    assert_eq!(code, Some(1));
    assert!(text.contains("holds a repository already"), "{text}");
}

#[test]
fn keys_are_added_changed_and_removed_but_for_the_last() {
    let sandbox = Sandbox::new();
    let key = sandbox.path().join("key");
    fs::write(&key, [9; 32]).unwrap();
    let key = key.to_str().unwrap();
    let with_key = || {
        let mut command = bare(&sandbox);
        command.args(["--key-file", key]);
        command
    };
    let with = |passphrase: &str| {
        let mut command = bare(&sandbox);
        command.env("ICECORE_PASSPHRASE", passphrase);
        command
    };
    with_key().args(["init", "--label", "first"]).assert().success();
    let first = keys(&mut with_key());
    assert_eq!(first.len(), 1);
    assert_eq!((first[0].1.as_str(), first[0].2), ("first", true));
    let (code, text) = said(with_key().args(["key", "remove", &first[0].0]));
    assert_eq!(code, Some(1));
    assert!(text.contains("is the last one") && text.contains("hint: `icecore key add`"), "{text}");

    let new = ("ICECORE_NEW_PASSPHRASE", "one");
    with_key().env(new.0, new.1).args(["key", "add", "--label", "second"]).assert().success();
    let both = keys(&mut with("one"));
    let in_use = |label: &str| both.iter().find(|key| key.1 == label).map(|key| key.2);
    assert_eq!((in_use("first"), in_use("second")), (Some(false), Some(true)));

    let file = sandbox.path().join("new");
    fs::write(&file, "two\n").unwrap();
    let change = ["key", "passwd", "--new-passphrase-file", file.to_str().unwrap()];
    with("one").args(change).assert().success();
    with("one").arg("snapshots").assert().code(12);
    with("two").arg("snapshots").assert().success();
    with_key().arg("snapshots").assert().success();

    with("two").args(["key", "remove", &first[0].0[..6]]).assert().code(2);
    with("two").args(["key", "remove", "--yes", &first[0].0[..6]]).assert().success();
    with_key().arg("snapshots").assert().code(12);
    with("two").args(["key", "remove", "zzzz"]).assert().code(1);
    assert_eq!(keys(&mut with("two")).len(), 1);
}

#[test]
fn a_slot_of_another_repository_is_no_key_of_this_one() {
    let sandbox = Sandbox::new();
    for name in ["one", "two"] {
        sandbox.icecore().args(["init", "-q", name]).assert().success();
    }
    let slot = |name: &str| {
        let keys = sandbox.path().join(name).join("keys");
        fs::read_dir(keys).unwrap().next().unwrap().unwrap()
    };
    let (own, foreign) = (slot("one").file_name().into_string().unwrap(), slot("two"));
    fs::copy(foreign.path(), sandbox.path().join("one/keys").join(foreign.file_name())).unwrap();
    let remove = sandbox.icecore().args(["-r", "one", "key", "remove", &own]).output().unwrap();
    assert_eq!(remove.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&remove.stderr).contains("the last one"));
    sandbox.icecore().args(["-r", "one", "snapshots"]).assert().success();
}

#[test]
fn a_damaged_slot_is_told_with_a_way_that_needs_no_open_repository() {
    let sandbox = Sandbox::new();
    sandbox.icecore().args(["init", "repository", "-q"]).assert().success();
    let mut keys = fs::read_dir(sandbox.path().join("repository/keys")).unwrap();
    let slot = keys.next().unwrap().unwrap().path();
    let mut bytes = fs::read(&slot).unwrap();
    bytes[60] ^= 1;
    fs::write(&slot, bytes).unwrap();
    for command in [&["verify", "--read-data"][..], &["snapshots"]] {
        let (code, said) = said(sandbox.icecore().args(["-r", "repository"]).args(command));
        let name = format!("keys/{}", slot.file_name().unwrap().to_str().unwrap());
        let hint = format!("hint: put {name} back from a copy of the repository's files");
        assert!(code == Some(4) && said.contains(&hint), "{said}");
        assert!(!said.contains("`icecore verify"), "{said}");
    }
}
