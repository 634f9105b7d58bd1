//! What a user sees when something is wrong: one line, a hint, an exit code that scripts rely on.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use common::Sandbox;
use icecore::format::{Commit, FrameKind, Seal, SnapshotId, frame};
use icecore::repo::{OpenOptions, Repository, SnapshotFilter};
use icecore::storage::LocalStorage;

/// A plain repository with one snapshot of a small tree, and the tree.
fn prepared(sandbox: &Sandbox) -> (PathBuf, PathBuf) {
    let repository = sandbox.path().join("repository");
    let source = sandbox.folder("source");
    fs::write(source.join("file"), "content of a file").unwrap();
    sandbox.icecore().args(["init", "--plain", "repository"]).assert().success();
    sandbox.icecore().args(["-r", "repository", "ingest", "-q"]).arg(&source).assert().success();
    (repository, source)
}

#[track_caller]
fn check(output: Output, code: i32, stderr: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(output.stdout.is_empty(), "an error prints nothing on stdout");
}

#[test]
fn missing_repository_is_exit_10() {
    let sandbox = Sandbox::plain();
    let output = sandbox.icecore().args(["-r", "none", "ls"]).output().unwrap();
    let hint = "`icecore init none` makes one; -r or ICECORE_REPOSITORY names another";
    check(output, 10, &format!("icecore: no repository at none\n  hint: {hint}\n"));
    sandbox.folder("empty");
    sandbox.icecore().args(["-r", "empty", "verify"]).assert().code(10);
}

#[test]
fn no_repository_named_is_a_usage_error() {
    let sandbox = Sandbox::plain();
    let output = sandbox.icecore().arg("snapshots").output().unwrap();
    let hint = "name it with -r PATH or ICECORE_REPOSITORY";
    check(output, 2, &format!("icecore: no repository given\n  hint: {hint}\n"));
    for arguments in [&["nonsense"][..], &["ls", "--nonsense"], &["-q", "-v", "ls"], &["find"], &[]]
    {
        sandbox.icecore().args(arguments).assert().code(2).stdout("");
    }
}

#[test]
fn errors_are_json_when_asked_for() {
    let sandbox = Sandbox::plain();
    let output = sandbox.icecore().args(["--json", "-r", "none", "ls"]).output().unwrap();
    assert_eq!(output.status.code(), Some(10));
    assert!(output.stdout.is_empty());
    let value: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(value["schema"], 1);
    assert_eq!(value["error"]["exit_code"], 10);
    assert_eq!(value["error"]["message"], "no repository at none");
    assert!(value["error"]["hint"].is_string());
}

#[test]
fn unknown_names_say_where_to_look() {
    let sandbox = Sandbox::plain();
    prepared(&sandbox);
    for (name, message) in [
        ("0000", "no snapshot \"0000\""),
        ("soon", "no snapshot \"soon\""),
        ("latest~1", "no snapshot \"latest~1\""),
        ("1999-01-01", "no snapshot \"1999-01-01\""),
    ] {
        let output = sandbox.icecore().args(["-r", "repository", "ls", name]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.starts_with(&format!("icecore: {message}\n  hint: `icecore snapshots`")),
            "{said}"
        );
        assert_eq!(output.status.code(), Some(1));
    }
    let output =
        sandbox.icecore().args(["-r", "repository", "cat", "latest:/none/at/all"]).output();
    let said = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(said.contains(" holds no /none\n  hint: `icecore ls "), "{said}");
    let cat = ["-r", "repository", "cat", "latest:/"];
    let output = sandbox.icecore().args(cat).output().unwrap();
    check(output, 1, "icecore: / is a directory\n");
}

/// Ids are random, so a second snapshot with the same first digits is made by hand.
fn twin(repository: &Path) -> SnapshotId {
    let storage = LocalStorage::open(repository).unwrap();
    let repo =
        Repository::open(std::sync::Arc::new(storage), None, &OpenOptions::default()).unwrap();
    let mut snapshot = repo.find_snapshot("latest", &SnapshotFilter::default()).unwrap();
    snapshot.id.0[15] ^= 1;
    let id = snapshot.id;
    let payload = Commit::Snapshot(Box::new(snapshot)).encode(repo.config().repository);
    let bytes = frame::encode(FrameKind::Snapshot, Seal::Plain, &payload);
    fs::write(repository.join(format!("snapshots/{id}")), bytes).unwrap();
    id
}

#[test]
fn ambiguous_prefixes_ask_for_more_digits() {
    let sandbox = Sandbox::plain();
    let (repository, _) = prepared(&sandbox);
    let id = twin(&repository).to_string();
    let ls =
        |name: &str| sandbox.icecore().args(["-r", "repository", "ls", name]).output().unwrap();
    let message = format!("icecore: \"{}\" fits 2 snapshots\n", &id[..8]);
    check(ls(&id[..8]), 1, &format!("{message}  hint: give more digits of the id\n"));
    assert!(ls(&id).status.success());
}

/// Three snapshots of one source, oldest first, by id.
fn line_of_three(sandbox: &Sandbox) -> (PathBuf, Vec<String>) {
    let (repository, source) = prepared(sandbox);
    for n in 0..2 {
        fs::write(source.join("file"), format!("changed {n}")).unwrap();
        sandbox
            .icecore()
            .args(["-r", "repository", "ingest", "-q"])
            .arg(&source)
            .assert()
            .success();
    }
    let list =
        sandbox.icecore().args(["-r", "repository", "snapshots", "--json"]).output().unwrap();
    let list: serde_json::Value = serde_json::from_slice(&list.stdout).unwrap();
    let ids = list["snapshots"].as_array().unwrap().iter();
    (repository, ids.map(|one| one["id"].as_str().unwrap().to_owned()).collect())
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(path, bytes).unwrap();
}

/// Nobody who says `latest` gets an older state unawares, and there is a way out.
#[test]
fn latest_is_refused_where_the_newest_snapshot_cannot_be_read() {
    let sandbox = Sandbox::plain();
    let (repository, ids) = line_of_three(&sandbox);
    let newest = format!("snapshots/{}", ids[2]);
    flip(&repository.join(&newest));
    let run = |arguments: &[&str]| {
        let output = sandbox.icecore().args(["-r", "repository"]).args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), said, String::from_utf8(output.stdout).unwrap())
    };
    let day = &jiff::Zoned::now().date().to_string();
    for arguments in [
        &["ls", "latest"][..],
        &["ls", "latest~1"],
        &["ls", day],
        &["cat", "latest:/file"],
        &["find", "--snapshot", "latest", "*"],
        &["restore", "latest", "--to", "out"],
        &["diff", &ids[0], "latest"],
        &["stats", "latest"],
        &["snapshots", "latest"],
        &["tag", "latest", "--add", "x"],
        &["protect", "latest", "--dry-run"],
        &["forget", "latest", "--yes"],
        &["mount", "--snapshot", "latest", "point"],
        &["ls", "latest", "--host", "elsewhere"],
    ] {
        let (code, said, _) = run(arguments);
        assert_eq!(code, 4, "{arguments:?}: {said}");
        assert!(said.contains(&newest), "{arguments:?}: {said}");
        assert!(said.contains("repair snapshots --from"), "{arguments:?}: {said}");
        assert!(said.contains(&format!("forget {}", ids[2])), "{arguments:?}: {said}");
    }
    assert!(!sandbox.path().join("out").exists());
    let (code, said, list) = run(&["snapshots"]);
    assert!(code == 4 && said.contains(&newest) && list.contains(&ids[1][..8]), "{said}{list}");
    let (code, said, _) = run(&["ls", &ids[2][..8]]);
    assert!(code == 4 && said.contains(&newest), "{said}");
    for id in &ids[..2] {
        assert_eq!(run(&["ls", id]).0, 0, "what is named by its id is there");
    }
    for what in ["packs", "snapshots"] {
        let (code, said, _) = run(&["repair", what, "--from", "source"]);
        assert!(code == 10 && said.contains("which --from names"), "{code} {said}");
    }
    // Given up, brought back, given up: by its id only.
    let (code, said, plan) = run(&["forget", &ids[2], "--dry-run"]);
    assert!(code == 0 && plan.contains("it cannot be read"), "{said}{plan}");
    assert_eq!(run(&["forget", &ids[2][..8], "--yes", "--json"]).0, 0);
    let (code, _, list) = run(&["snapshots", "latest", "--json"]);
    assert!(code == 0 && list.contains(&ids[1]), "{list}");
    assert_eq!(run(&["forget", "--undo", &ids[2]]).0, 0);
    assert_eq!(run(&["ls", "latest"]).0, 4);
    assert_eq!(run(&["forget", &ids[2], "--yes"]).0, 0);
    assert_eq!(run(&["prune", "--grace", "0", "--yes"]).0, 0);
    assert!(!repository.join(&newest).exists());
    assert_eq!(run(&["verify"]).0, 0);
}

/// What a later snapshot was made from is older than that one: `latest` is certain.
#[test]
fn latest_is_certain_where_an_older_snapshot_cannot_be_read() {
    let sandbox = Sandbox::plain();
    let (repository, ids) = line_of_three(&sandbox);
    flip(&repository.join("snapshots").join(&ids[1]));
    let run = |arguments: &[&str]| {
        sandbox.icecore().args(["-r", "repository"]).args(arguments).output().unwrap()
    };
    let latest = run(&["snapshots", "latest", "--json"]);
    let text = String::from_utf8(latest.stdout).unwrap();
    assert!(latest.status.success() && text.contains(&ids[2]), "{text}");
    assert_eq!(run(&["ls", "latest~1"]).status.code(), Some(4), "it may be the damaged one");
}

#[test]
fn damage_is_exit_4_and_names_the_object() {
    let sandbox = Sandbox::plain();
    let (repository, _) = prepared(&sandbox);
    let pack = walk(&repository.join("meta")).remove(0);
    let mut bytes = fs::read(&pack).unwrap();
    bytes[80] ^= 1;
    fs::write(&pack, bytes).unwrap();
    let name = pack.file_name().unwrap().to_str().unwrap();
    for arguments in [&["ls", "-R"][..], &["verify", "--read-data"], &["find", "*"]] {
        let output = sandbox.icecore().args(["-r", "repository"]).args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(4), "{arguments:?}: {said}");
        assert!(said.contains(name), "{arguments:?}: {said}");
    }
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}

#[test]
fn newer_format_asks_for_an_upgrade() {
    let sandbox = Sandbox::plain();
    let (repository, _) = prepared(&sandbox);
    let config = repository.join("config");
    let bytes = fs::read(&config).unwrap();
    let mut payload = frame::decode(FrameKind::Config, &bytes).unwrap().payload.to_vec();
    payload[..4].copy_from_slice(&2_u32.to_le_bytes());
    fs::remove_file(&config).unwrap();
    fs::write(&config, frame::encode(FrameKind::Config, Seal::Plain, &payload)).unwrap();
    let output = sandbox.icecore().args(["-r", "repository", "ls"]).output().unwrap();
    let message = "cannot open repository repository: config has format 2, this icecore reads up \
                   to 1";
    check(output, 1, &format!("icecore: {message}\n  hint: upgrade icecore\n"));
}

#[test]
fn unreadable_sources_are_exit_3_and_missing_ones_exit_1() {
    let sandbox = Sandbox::plain();
    let (_, source) = prepared(&sandbox);
    sandbox.icecore().args(["-r", "repository", "ingest", "/none"]).assert().code(1);
    let failing = ["-r", "repository", "ingest", "--command", "db", "--", "sh", "-c", "exit 7"];
    sandbox.icecore().args(failing).assert().code(1);
    let snapshots = || {
        let json = ["-r", "repository", "snapshots", "--json"];
        let output = sandbox.icecore().args(json).output().unwrap();
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        value["snapshots"].as_array().unwrap().clone()
    };
    assert_eq!(snapshots().len(), 1, "a failed command makes no snapshot");
    // Root can read every file, but nobody reads patterns from a directory.
    fs::create_dir(source.join(".icecoreignore")).unwrap();
    let ingest = ["-r", "repository", "ingest", "source", "--json"];
    let output = sandbox.icecore().args(ingest).output().unwrap();
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{value}");
    assert_eq!(
        (value["partial"].as_bool(), value["troubles_count"].as_u64()),
        (Some(true), Some(1))
    );
    let trouble = value["troubles"][0]["path"].as_str().unwrap();
    assert!(trouble.starts_with(source.to_str().unwrap()), "{trouble}");
    assert_eq!(snapshots()[1]["partial"], true);
}

#[test]
fn a_key_file_that_is_missing_is_made_for_new_repositories_only() {
    let sandbox = Sandbox::plain();
    let make = "`head -c 32 /dev/urandom > none` makes one";
    let init = ["init", "--key-file", "none", "other"];
    let output = sandbox.icecore().args(init).output().unwrap();
    check(output, 1, &format!("icecore: no key file none\n  hint: {make}\n"));
    fs::write(sandbox.path().join("key"), [7; 32]).unwrap();
    sandbox.icecore().args(["init", "--key-file", "key", "repository"]).assert().success();
    let list = ["-r", "repository", "--key-file", "none", "key", "list"];
    let output = sandbox.icecore().args(list).output().unwrap();
    let find = "name the file that the repository was made with, or that `icecore key add` was \
                given; a new one opens nothing";
    check(output, 1, &format!("icecore: no key file none\n  hint: {find}\n"));
    fs::write(sandbox.path().join("none"), "short").unwrap();
    let output = sandbox.icecore().args(list).output().unwrap();
    let short = "key file none has 5 bytes, at least 16 are needed";
    check(output, 1, &format!("icecore: {short}\n  hint: {find}\n"));
    fs::remove_file(sandbox.path().join("none")).unwrap();
    let add = ["-r", "repository", "--key-file", "key", "key", "add", "--new-key-file", "none"];
    let output = sandbox.icecore().args(add).output().unwrap();
    check(output, 1, &format!("icecore: no key file none\n  hint: {make}\n"));
}

#[test]
fn closed_pipe_is_no_error_and_a_full_disk_is_one() {
    let sandbox = Sandbox::plain();
    prepared(&sandbox);
    for arguments in [
        &["ls", "-R"][..],
        &["find", "*"],
        &["cat", "latest:/"],
        &["snapshots"],
        &["stats", "--json"],
        &["verify"],
        &["man"],
        &["completions", "zsh"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = sandbox.icecore_std();
        command.args(["-r", "repository"]).args(arguments).stdout(writer).stderr(Stdio::piped());
        let output = command.output().unwrap();
        let expected = if arguments[0] == "cat" { 1 } else { 0 };
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(expected), "{arguments:?}: {said}");
    }
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = sandbox.icecore_std();
    let output = command.args(["-r", "repository", "snapshots"]).stdout(full).output().unwrap();
    let message = "cannot write to standard output: No space left on device (os error 28)";
    check(output, 1, &format!("icecore: {message}\n"));
}

#[test]
fn interrupted_is_exit_130() {
    let sandbox = Sandbox::plain();
    let (repository, _) = prepared(&sandbox);
    let mut command = sandbox.icecore_std();
    let ingest = ["-r", "repository", "ingest", "--stdin", "stream"];
    let mut child = command.args(ingest).stdin(Stdio::piped()).spawn().unwrap();
    // A beat says that signals are taken. Two signals sent at once may arrive as one: the second
    // ends it, so they are sent until it has ended.
    let sessions = repository.join("sessions");
    let code = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        if fs::read_dir(&sessions).is_ok_and(|mut beats| beats.next().is_some()) {
            let pid = rustix::process::Pid::from_child(&child);
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        }
        std::thread::yield_now();
    };
    assert_eq!(code, Some(130));
}

#[test]
fn init_never_goes_over_objects_without_their_config() {
    let sandbox = Sandbox::plain();
    let (repository, _) = prepared(&sandbox);
    let config = fs::read(repository.join("config")).unwrap();
    fs::remove_file(repository.join("config")).unwrap();
    for arguments in [&["init", "--plain", "repository"][..], &["-r", "repository", "snapshots"]] {
        let output = sandbox.icecore().args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(4), "{said}");
        assert!(said.contains("its config is missing"), "{said}");
    }
    fs::write(repository.join("config"), config).unwrap();
    sandbox.icecore().args(["-r", "repository", "verify"]).assert().success();
}

#[test]
fn cached_index_that_rots_is_fetched_again() {
    let sandbox = Sandbox::plain();
    let (_, source) = prepared(&sandbox);
    let cached = sandbox.path().join("cache");
    let mut files = vec![cached];
    let mut flipped = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let whole = fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(29) {
            let mut bad = whole.clone();
            bad[at] ^= 0x10;
            fs::write(&path, bad).unwrap();
            let mut cat = sandbox.icecore();
            let file = format!("latest:{}", source.canonicalize().unwrap().join("file").display());
            cat.args(["-r", "repository", "cat"]).arg(file).assert().success();
            flipped += 1;
        }
        assert_eq!(fs::read(&path).unwrap(), whole, "it is whole again");
    }
    assert!(flipped > 5, "{flipped}");
}

#[test]
fn a_path_that_is_not_there_does_not_stop_the_others() {
    let sandbox = Sandbox::plain();
    let (_, source) = prepared(&sandbox);
    fs::write(sandbox.path().join("list"), format!("gone\n{}\n", source.display())).unwrap();
    let ingest = |arguments: &[&str]| {
        let output =
            sandbox.icecore().args(["-r", "repository", "ingest"]).args(arguments).output();
        let output = output.unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = ingest(&["--files-from", "list"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("gone"), "{said}");
    assert_eq!(ingest(&["gone"]).0, Some(1), "nothing at all is a failure");
    assert_eq!(ingest(&["--", source.to_str().unwrap()]).0, Some(0));
    assert_eq!(ingest(&[]).0, Some(2));
    let (code, _) = ingest(&["-n", "--command", "dump", "--", "touch", "was-run"]);
    assert_eq!((code, sandbox.path().join("was-run").exists()), (Some(0), false));
}

#[test]
fn files_that_state_no_size_are_read_to_their_end() {
    let sandbox = Sandbox::plain();
    prepared(&sandbox);
    sandbox
        .icecore()
        .args(["-r", "repository", "ingest", "-q", "/proc/version"])
        .assert()
        .success();
    let cat = sandbox.icecore().args(["-r", "repository", "cat", "latest:/proc/version"]).output();
    assert_eq!(cat.unwrap().stdout, fs::read("/proc/version").unwrap());
}
