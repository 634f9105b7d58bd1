//! The bytes of format 1, structure by structure and as two whole repositories.
//!
//! Guards against a change of any stored byte, be it ours or a dependency's: what is under
//! tests/golden was written by an earlier icecore, and this one must write and read the same. A
//! difference here means that repositories in use no longer open; a new format needs a new version
//! and new files beside these.

mod format_fixtures;
#[path = "format_fixtures/repository.rs"]
mod golden_repository;

use std::fmt::Write as _;
use std::sync::Arc;

use format_fixtures::{Sample, ZSTD_PLAIN, samples};
use golden_repository::{FILES, KEY_FILE, PASSPHRASE, repository};
use icecore::codec::block;
use icecore::format::{Body, ObjectKey};
use icecore::repo::{NodeRef, OpenOptions, Repository, Secret, SnapshotFilter};
use icecore::storage::{MemoryStorage, Storage};

/// Offset, 16 bytes, and what of them is ASCII; readable when a review shows a difference.
fn dump(title: &str, bytes: &[u8]) -> String {
    let mut text = format!("== {title}: {} bytes\n", bytes.len());
    for (row, bytes) in bytes.chunks(16).enumerate() {
        let digits: Vec<String> = bytes.chunks(4).map(hex::encode).collect();
        let letter = |&b: &u8| if b.is_ascii_graphic() { char::from(b) } else { '.' };
        let ascii: String = bytes.iter().map(letter).collect();
        writeln!(text, "{:06x}  {:35}  {ascii}", row * 16, digits.join(" ")).unwrap();
    }
    text
}

#[track_caller]
fn assert_golden(name: &str, text: &str) {
    insta::with_settings!({
        snapshot_path => "golden",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, { insta::assert_snapshot!(name, text) });
}

fn texts_of<'a>(samples: impl Iterator<Item = &'a Sample>) -> String {
    samples.map(|sample| dump(sample.name, &sample.bytes)).collect()
}

#[test]
fn every_structure_has_its_golden_bytes() {
    let samples = samples();
    for kind in samples.chunk_by(|a, b| a.kind == b.kind) {
        assert_golden(kind[0].kind, &texts_of(kind.iter()));
    }
}

fn objects_text(encrypted: bool) -> String {
    repository(encrypted).iter().map(|(key, bytes)| dump(&key.to_string(), bytes)).collect()
}

#[test]
fn a_plain_repository_has_its_golden_bytes() {
    assert_golden("repository_plain", &objects_text(false));
}

#[test]
fn an_encrypted_repository_has_its_golden_bytes() {
    assert_golden("repository_encrypted", &objects_text(true));
}

fn find(repo: &Repository, path: &str) -> NodeRef {
    let snapshot = repo.find_snapshot("latest", &SnapshotFilter::default()).unwrap();
    let mut node = Repository::root(&snapshot);
    for name in path.split('/') {
        let Body::Directory { page, .. } = node.body else { panic!("{path}: no directory") };
        node = repo.lookup(page, name.as_bytes()).unwrap().unwrap();
    }
    node
}

/// What was put together by hand is what the library reads: so the golden bytes are its own.
#[track_caller]
fn assert_readable(encrypted: bool, secret: Option<&Secret>) {
    let storage = MemoryStorage::new();
    for (key, bytes) in repository(encrypted) {
        storage.put_new(&key, &bytes).unwrap();
        assert_eq!(ObjectKey::parse(&key.to_string()), Some(key));
    }
    let repo = Repository::open(Arc::new(storage), secret, &OpenOptions::default()).unwrap();
    for (path, content) in FILES {
        let node = find(&repo, path);
        let Body::File(file) = &node.body else { panic!("{path}: no file") };
        let mut bytes = vec![1; file.size as usize];
        assert_eq!(repo.read_at(file, 0, &mut bytes).unwrap(), bytes.len());
        assert!(bytes == content(), "{path}");
        assert_eq!(node.owner().user, "ada");
    }
    let list = repo.snapshots().unwrap();
    assert_eq!(list.snapshots[0].tags, ["release"]);
    assert_eq!(list.protected.len(), 1);
    assert!(list.damaged_marks.is_empty());
}

#[test]
fn the_golden_repositories_open_and_hold_their_files() {
    assert_readable(false, None);
    assert_readable(true, Some(&Secret::Passphrase(PASSPHRASE.to_vec().into())));
    assert_readable(true, Some(&Secret::KeyFile(KEY_FILE.to_vec().into())));
}

#[test]
fn a_zstd_frame_of_another_encoder_decodes() {
    let samples = samples();
    let zstd = samples.iter().find(|sample| sample.name == "zstd").unwrap();
    let (count, end) = ZSTD_PLAIN;
    assert_eq!(block::decode(&zstd.bytes).unwrap(), [&vec![b'a'; count], end].concat());
}
