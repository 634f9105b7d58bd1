//! What icecore writes is what icecore-format(5) says: a reader in Python, written from that page
//! alone, gets everything back.
//!
//! Guards against bytes that only icecore itself understands, and against a page that is wrong. The
//! reader must be installable (tests/reader/setup): these tests fail where it is not, they are not
//! skipped.

mod common;
mod format_fixtures;
mod format_source;
mod format_versions;
#[path = "format_fixtures/repository.rs"]
mod golden_repository;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use common::torture::{self, TortureOptions, random_bytes, text_bytes};
use common::{Sandbox, library};
use format_source::Listing;
use golden_repository::{FILES, KEY_FILE, PASSPHRASE, repository};
use icecore::codec::{BlockEncoder, Compression};
use icecore::format::{Body, Chunking, LedgerEvent, ObjectKey, PackKind, Time};
use icecore::ops::ingest::{ExcludeOptions, IngestOptions};
use icecore::progress::Silent;
use icecore::repo::{
    BlockDraft, InitOptions, KdfCost, OpenOptions, Repository, Secret, Session, Writer,
};
use icecore::storage::LocalStorage;
use serde_json::Value;

/// Small chunks, so that few bytes need pages of extents.
const CHUNKING: Chunking = Chunking { min: 64, average: 256, max: 1024 };
const COST: KdfCost = KdfCost { memory_kib: 256, passes: 2, lanes: 2 };

/// The reader on one repository.
struct Reader {
    python: PathBuf,
    repository: PathBuf,
    options: Vec<String>,
}

impl Reader {
    fn new(repository: &Path, options: &[&str]) -> Self {
        let setup = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reader/setup");
        let output = Command::new(&setup).output().expect("tests/reader/setup runs");
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the independent reader cannot be installed: {words}");
        let python = String::from_utf8(output.stdout).unwrap().trim_end().into();
        let options = options.iter().map(|&option| option.into()).collect();
        Self { python, repository: repository.to_owned(), options }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reader/icecore_reader.py");
        let mut command = Command::new(&self.python);
        command.arg("-B").arg(script).args(&self.options).arg(&self.repository).args(arguments);
        command
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.command(arguments).output().expect("python runs");
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{:?} {arguments:?}: {words}", self.options);
        output.stdout
    }

    #[track_caller]
    fn lines(&self, arguments: &[&str]) -> Vec<Value> {
        let stdout = self.run(arguments);
        stdout
            .split(|&b| b == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    /// Compares a snapshot with the tree that it was made of.
    #[track_caller]
    fn assert_lists(&self, snapshot: &str, source: &Listing) {
        let mut found = Listing::new();
        let mut groups = BTreeMap::<u64, Vec<String>>::new();
        for mut entry in self.lines(&["list", snapshot]) {
            let fields = entry.as_object_mut().unwrap();
            let path = fields["path"].as_str().unwrap().to_owned();
            let link = fields.remove("link").unwrap();
            fields.insert("links".into(), link.get(1).cloned().unwrap_or(1.into()));
            if let Some(group) = link.get(0) {
                groups.entry(group.as_u64().unwrap()).or_default().push(path.clone());
            }
            let owner = fields.remove("owner").unwrap();
            fields.extend(owner.as_object().unwrap().clone());
            found.insert(path, std::mem::take(fields));
        }
        let paths = |listing: &Listing| listing.keys().cloned().collect::<Vec<_>>();
        assert_eq!(paths(&found), paths(source));
        for (path, expected) in source {
            let words = String::from_utf8_lossy(&hex::decode(path).unwrap()).into_owned();
            for (field, value) in expected {
                if !is_up_to_the_kernel(&words, field) {
                    assert_eq!(found[path].get(field), Some(value), "{words}: {field}");
                }
            }
        }
        for paths in groups.values() {
            let inode = &source[&paths[0]]["inode"];
            assert!(paths.iter().all(|path| &source[path]["inode"] == inode), "{paths:?}");
        }
    }
}

/// After reading ahead, more of what was never written is in the page cache than before.
fn is_up_to_the_kernel(path: &str, field: &str) -> bool {
    torture::is_partly_unwritten(path.as_bytes())
        && matches!(field, "data" | "runs" | "data_blake3")
}

/// A tree with every kind of entry, many of some, so that there are pages of all kinds.
fn build_source(sandbox: &Sandbox) -> PathBuf {
    let source = sandbox.folder("source");
    let tortured = sandbox.folder("source/torture");
    let options = TortureOptions { big_directory_entries: 3000, ..TortureOptions::small() };
    let left_out = torture::build(&tortured, &options);
    assert!(left_out.is_empty(), "the file system refuses: {left_out:#?}");
    std::fs::write(source.join("random"), random_bytes(1, 3 << 20)).unwrap();
    std::fs::write(source.join("text"), text_bytes(2, 1 << 20)).unwrap();
    format_versions::write(&source, 0);
    source
}

fn ingest(repo: &Repository, source: &Path) -> String {
    let excludes = ExcludeOptions::default();
    let options = IngestOptions { tags: vec!["tag".into()], excludes, ..library::options() };
    let report = library::try_ingest(repo, source, &options, &Silent).unwrap();
    assert_eq!(report.troubles, []);
    report.snapshot.unwrap().to_string()
}

/// Stores the first chunk of a file whole, a second time, in a pack of its own.
fn store_again(repo: &Repository, path: &str) {
    let Body::File(file) = library::find(repo, path).unwrap().body.clone() else { panic!() };
    let first = repo.extent_at(&file, 0).unwrap().unwrap().extent.id;
    assert!(repo.chunk_places(&first).unwrap()[0].base.is_some(), "{path} is stored whole");
    let writer = Writer { host: "host".into(), pid: 1 };
    let session = Session::begin(repo, writer, icecore::clock::now()).unwrap();
    let mut draft = BlockDraft::default();
    draft.push(first, &repo.chunk(&first).unwrap());
    let mut encoder = BlockEncoder::new(Compression::DEFAULT).unwrap();
    session.write_block(PackKind::Data, &draft, &mut encoder).unwrap();
    session.flush().unwrap();
    session.abandon();
}

/// Makes a repository of two snapshots, and has the reader read it with each set of options.
#[track_caller]
fn assert_readable(
    sandbox: &Sandbox,
    chunking: Chunking,
    secrets: &[&Secret],
    options: &[&[&str]],
) {
    let root = sandbox.path().join("repository");
    let storage = LocalStorage::create(&root).unwrap();
    let init = InitOptions { chunking, cost: COST };
    let first = secrets.first().copied();
    Repository::init(&storage, first, "label", init).unwrap();
    let repo = Repository::open(Arc::new(storage), first, &OpenOptions::default()).unwrap();
    repo.set_parity(50, "host").unwrap();
    for other in secrets.iter().skip(1) {
        repo.add_key(other, "other", COST).unwrap();
    }
    let source = build_source(sandbox);
    let before = format_source::list(&source);
    let older = ingest(&repo, &source);
    std::fs::write(source.join("text"), text_bytes(3, 2 << 20)).unwrap();
    std::fs::remove_file(source.join("random")).unwrap();
    format_versions::write(&source, 1);
    let after = format_source::list(&source);
    let newer = ingest(&repo, &source);
    store_again(&repo, "pages.db");
    for options in options {
        let reader = Reader::new(&root, options);
        let snapshots = reader.lines(&["snapshots"]);
        let ids: Vec<_> = snapshots.iter().map(|s| s["id"].as_str().unwrap()).collect();
        assert_eq!(ids, [older.as_str(), newer.as_str()]);
        assert_eq!(snapshots[1]["parent"], older.as_str());
        assert_eq!(snapshots[1]["tags"][0], "tag");
        reader.assert_lists(&newer, &after);
    }
    let reader = Reader::new(&root, options[0]);
    reader.assert_lists(&older, &before);
    let check = reader.lines(&["check"]);
    assert!(check[0]["chunks"].as_u64().unwrap() > 100, "{check:?}");
    assert_eq!(check[0]["places_most"], 2, "{check:?}");
    assert_eq!(check[0]["share"], 50, "{check:?}");
    assert!(check[0]["parities"].as_u64().unwrap() >= 2, "{check:?}");
    let codecs: Vec<_> = check[0]["codecs"].as_object().unwrap().keys().collect();
    for codec in format_versions::CODECS.iter().chain(&format_versions::DELTAS) {
        assert!(codecs.iter().any(|found| found.starts_with(codec)), "{codec}: {check:?}");
    }
    let cuts = reader.lines(&["cuts", &older]);
    assert!(cuts[0]["chunks"].as_u64().unwrap() > 10, "{cuts:?}");
    let content = reader.run(&["cat", &newer, &hex::encode("text")]);
    assert!(content == text_bytes(3, 2 << 20));
}

#[test]
fn a_plain_repository_is_what_the_page_says() {
    common::require_root();
    let sandbox = Sandbox::new();
    assert_readable(&sandbox, CHUNKING, &[], &[&[], &["--packs-only"]]);
}

#[test]
fn an_encrypted_repository_is_what_the_page_says() {
    common::require_root();
    let sandbox = Sandbox::new();
    let write = |name: &str, bytes: &[u8]| {
        let path = sandbox.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let by_passphrase = write("passphrase", common::PASSPHRASE.as_bytes());
    let by_key_file = write("key", &random_bytes(7, 100));
    let secrets = [
        Secret::Passphrase(common::PASSPHRASE.as_bytes().to_vec().into()),
        Secret::KeyFile(random_bytes(7, 100).into()),
    ];
    let options: [&[&str]; 2] =
        [&["--passphrase-file", &by_passphrase], &["--packs-only", "--key-file", &by_key_file]];
    assert_readable(&sandbox, Chunking::DEFAULT, &[&secrets[0], &secrets[1]], &options);
    let reader = Reader::new(&sandbox.path().join("repository"), &["--key-file", &by_passphrase]);
    let output = reader.command(&["snapshots"]).output().unwrap();
    assert!(!output.status.success(), "a wrong key opens the repository");
}

#[test]
fn a_file_of_many_chunks_has_pages_above_pages() {
    let sandbox = Sandbox::new();
    let source = sandbox.folder("source");
    // About 100,000 chunks, and about 1100 of them on a page.
    std::fs::write(source.join("random"), random_bytes(9, 24 << 20)).unwrap();
    let root = sandbox.path().join("repository");
    let storage = LocalStorage::create(&root).unwrap();
    let init = InitOptions { chunking: CHUNKING, ..InitOptions::default() };
    Repository::init(&storage, None, "", init).unwrap();
    let repo = Repository::open(Arc::new(storage), None, &OpenOptions::default()).unwrap();
    let snapshot = ingest(&repo, &source);
    let reader = Reader::new(&root, &[]);
    let file = &reader.lines(&["list", &snapshot])[1];
    assert!(file["level"].as_u64() >= Some(2), "{file}");
    reader.assert_lists(&snapshot, &format_source::list(&source));
    reader.run(&["cuts", &snapshot]);
}

#[test]
fn the_golden_repositories_are_what_the_page_says() {
    for encrypted in [false, true] {
        let sandbox = Sandbox::new();
        let root = sandbox.folder("repository");
        let mut snapshot = String::new();
        for (key, bytes) in repository(encrypted) {
            let path = root.join(key.to_string());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
            if let icecore::format::ObjectKey::Snapshot(id) = key {
                snapshot = id.to_string();
            }
        }
        let passphrase = sandbox.path().join("passphrase");
        std::fs::write(&passphrase, PASSPHRASE).unwrap();
        let key_file = sandbox.path().join("key");
        std::fs::write(&key_file, KEY_FILE).unwrap();
        let options = ["--passphrase-file", passphrase.to_str().unwrap()];
        let reader = Reader::new(&root, if encrypted { &options } else { &[] });
        for (path, content) in FILES {
            assert!(reader.run(&["cat", &snapshot, &hex::encode(path)]) == content(), "{path}");
        }
        let check = &reader.lines(&["check"])[0];
        assert_eq!(
            (&check["beats"], &check["forgotten"], &check["tagged"]),
            (&1.into(), &1.into(), &1.into())
        );
        let listed = reader.lines(&["snapshots"]);
        assert_eq!(listed[0]["tags"], serde_json::json!(["release"]));
    }
}

#[test]
fn the_ledger_is_what_the_page_says() {
    for secret in [None, Some(Secret::KeyFile(KEY_FILE.to_vec().into()))] {
        let sandbox = Sandbox::new();
        let root = sandbox.path().join("repository");
        let storage = Arc::new(LocalStorage::create(&root).unwrap());
        let options = InitOptions { chunking: CHUNKING, cost: COST };
        Repository::init(&*storage, secret.as_ref(), "", options).unwrap();
        let repo = Repository::open(storage, secret.as_ref(), &OpenOptions::default()).unwrap();
        for secs in [1_795_000_000, 1_795_000_060, -5] {
            let LedgerEvent::Verified(verified) = format_fixtures::ledger().event else { panic!() };
            let at = Time { secs, nanos: 7 };
            repo.append_ledger(at, "host", "test", LedgerEvent::Verified(verified)).unwrap();
        }
        let at = Time { secs: 1_795_000_070, nanos: 7 };
        let others =
            [format_fixtures::replicated(), format_fixtures::drilled(), format_fixtures::ran()];
        for other in others {
            repo.append_ledger(at, "host", "test", other.event).unwrap();
        }
        let key_file = sandbox.path().join("key");
        std::fs::write(&key_file, KEY_FILE).unwrap();
        let options = ["--key-file", key_file.to_str().unwrap()];
        let reader = Reader::new(&root, if secret.is_some() { &options } else { &[] });
        assert_eq!(reader.lines(&["check"])[0]["ledger"], 6);
        let last = repo.ledger_names().unwrap()[1];
        std::fs::remove_file(root.join(ObjectKey::Ledger(last.0, last.1).to_string())).unwrap();
        let output = reader.command(&["check"]).output().unwrap();
        assert!(!output.status.success(), "a record is missing");
    }
}
