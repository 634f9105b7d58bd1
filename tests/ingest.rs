//! Ingest of real trees: what is stored, what is read again, what is reported.
//!
//! Guards against content that differs from the source, against reading what did not change, and
//! against source trouble that stops or hides the rest.

mod common;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use common::library::{content, find, ingest_tree, latest_root, options, repository, try_ingest};
use common::torture::random_bytes as noise;
use icecore::format::index::{Place, Record, Segment, SegmentBuilder};
use icecore::format::{Body, ChunkId, Content, OBJECT_HEADER_LEN, ObjectKey, PackKind, SegmentId};
use icecore::ops::OpError;
use icecore::ops::ingest::{self, ExcludeOptions, IngestOptions, IngestReport, Input, Stream};
use icecore::progress::Silent;
use icecore::repo::{InitOptions, OpenOptions, Repository};
use icecore::storage::{CutPoint, FaultStorage, MemoryStorage, Storage, When};

fn root_page(repo: &Repository) -> Option<ChunkId> {
    match latest_root(repo).body {
        Body::Directory { page, .. } => page,
        _ => panic!("root is no directory"),
    }
}

#[test]
fn content_of_every_size_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let sizes = [0, 1, 511, 512, 513, 4096, 65_535, 65_537, 1 << 20, (3 << 20) + 17];
    for (seed, size) in sizes.into_iter().enumerate() {
        std::fs::write(dir.path().join(format!("noise-{size}")), noise(seed as u64, size)).unwrap();
        std::fs::write(dir.path().join(format!("text-{size}")), vec![b'a'; size]).unwrap();
    }
    let repo = repository();
    let report = ingest_tree(&repo, dir.path());
    assert_eq!(report.troubles_count, 0);
    for (seed, size) in sizes.into_iter().enumerate() {
        let node = find(&repo, &format!("noise-{size}")).unwrap();
        assert_eq!(content(&repo, &node), noise(seed as u64, size), "{size}");
        let node = find(&repo, &format!("text-{size}")).unwrap();
        assert_eq!(content(&repo, &node), vec![b'a'; size], "{size}");
    }
}

#[test]
fn an_unchanged_tree_is_not_read_and_gives_the_same_pages() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..700 {
        let sub = dir.path().join(format!("d{}", n % 7));
        std::fs::create_dir_all(&sub).unwrap();
        std::fs::write(sub.join(format!("f{n}")), noise(n, 900)).unwrap();
    }
    let repo = repository();
    ingest_tree(&repo, dir.path());
    let page = root_page(&repo);
    let second = ingest_tree(&repo, dir.path());
    assert_eq!(second.bytes_read, 0);
    assert_eq!(second.files_unchanged, 700);
    assert_eq!(second.added.chunks, 0);
    assert_eq!(root_page(&repo), page);

    std::fs::write(dir.path().join("d3/f3"), b"changed").unwrap();
    let third = ingest_tree(&repo, dir.path());
    assert_eq!((third.files_changed, third.files_new), (1, 0));
    assert_eq!(third.bytes_read, 7);

    let forced =
        try_ingest(&repo, dir.path(), &IngestOptions { force: true, ..options() }, &Silent)
            .unwrap();
    assert_eq!(forced.bytes_read, 699 * 900 + 7);
    assert_eq!(forced.added.chunks, 0, "what is read again deduplicates");
    let counts = (forced.files_new, forced.files_changed, forced.files_unchanged);
    assert_eq!(counts, (0, 0, 700), "what was read again is as it was");
}

/// Each name of a directory of files, and how often it counts as new, changed and unchanged.
fn counts(report: &IngestReport) -> (u64, u64, u64) {
    (report.files_new, report.files_changed, report.files_unchanged)
}

#[test]
fn files_count_by_what_they_hold_not_by_what_was_read() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = |name: &str| dir.path().join(name);
    for (seed, name) in ["chmod", "content", "inline", "same", "touch"].into_iter().enumerate() {
        std::fs::write(path(name), noise(seed as u64, 100_000)).unwrap();
    }
    std::fs::write(path("inline"), b"little").unwrap();
    for name in ["linked-a", "linked-b"] {
        std::fs::write(path("linked"), noise(9, 100_000)).unwrap();
        std::fs::hard_link(path("linked"), path(name)).unwrap();
    }
    let repo = repository();
    assert_eq!(counts(&ingest_tree(&repo, dir.path())), (8, 0, 0), "further names are new too");
    assert_eq!(counts(&ingest_tree(&repo, dir.path())), (0, 0, 8));
    let force = IngestOptions { force: true, ..options() };
    let forced = || try_ingest(&repo, dir.path(), &force, &Silent).unwrap();
    let report = forced();
    assert_eq!(counts(&report), (0, 0, 8));
    assert!(report.parent.is_some() && report.bytes_read > 400_000);
    let dry = IngestOptions { dry_run: true, ..force.clone() };
    assert_eq!(counts(&try_ingest(&repo, dir.path(), &dry, &Silent).unwrap()), (0, 0, 8));
    // Cut otherwise, and the same all the same.
    let chunker = ingest::ChunkerChoice::Fixed(Some(8192));
    let other = IngestOptions { chunker, ..force.clone() };
    assert_eq!(counts(&try_ingest(&repo, dir.path(), &other, &Silent).unwrap()), (0, 0, 8));

    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path("chmod"), PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::write(path("content"), noise(77, 100_000)).unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
    std::fs::File::options().write(true).open(path("touch")).unwrap().set_modified(later).unwrap();
    std::fs::write(path("zzz-new"), b"x").unwrap();
    assert_eq!(counts(&forced()), (1, 3, 5));
    assert_eq!(counts(&forced()), (0, 0, 9));
}

#[test]
fn a_directory_of_many_entries_is_found_name_by_name() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..5000 {
        std::fs::write(dir.path().join(format!("entry-{n}")), n.to_string()).unwrap();
    }
    let repo = repository();
    ingest_tree(&repo, dir.path());
    for n in (0..5000).step_by(37) {
        let node = find(&repo, &format!("entry-{n}")).unwrap();
        assert_eq!(content(&repo, &node), n.to_string().into_bytes());
    }
    assert!(find(&repo, "entry-5000").is_none());
    let listed: Vec<Vec<u8>> =
        repo.entries(root_page(&repo)).map(|node| node.unwrap().name.clone()).collect();
    assert_eq!(listed.len(), 5000);
    assert!(listed.is_sorted());
}

#[test]
fn holes_are_stored_as_holes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sparse");
    let file = std::fs::File::create(&path).unwrap();
    std::os::unix::fs::FileExt::write_at(&file, b"middle", 1 << 30).unwrap();
    file.set_len(1 << 40).unwrap();
    let repo = repository();
    let report = ingest_tree(&repo, dir.path());
    assert!(report.bytes_read < 1 << 20);
    let node = find(&repo, "sparse").unwrap();
    let Body::File(file) = &node.body else { panic!() };
    assert_eq!(file.size, 1 << 40);
    assert!(file.data < 1 << 20);
    let Content::Extents { extents, .. } = &file.content else { panic!() };
    assert!(extents.first().unwrap().is_hole() && extents.last().unwrap().is_hole());
    let mut bytes = [0; 6];
    repo.read_at(file, 1 << 30, &mut bytes).unwrap();
    assert_eq!(&bytes, b"middle");
    assert_eq!(repo.seek(file, 0, false).unwrap(), Some(1 << 30));
    assert_eq!(repo.seek(file, 1 << 39, false).unwrap(), None);
    assert_eq!(repo.seek(file, 1 << 39, true).unwrap(), Some(1 << 39));
}

#[test]
fn names_of_one_inode_are_read_once_and_stay_together() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("sub")).unwrap();
    std::fs::write(dir.path().join("a"), noise(1, 100_000)).unwrap();
    for name in ["b", "sub/c"] {
        std::fs::hard_link(dir.path().join("a"), dir.path().join(name)).unwrap();
    }
    // The attributes are the inode's: each name has them, whichever was met first.
    common::run_ok(
        "setfattr",
        &["-n", "user.of", "-v", "all names", dir.path().join("b").to_str().unwrap()],
    );
    let repo = repository();
    for round in 0..2 {
        let report = ingest_tree(&repo, dir.path());
        assert_eq!(report.bytes_read, if round == 0 { 100_000 } else { 0 });
        let nodes = ["a", "b", "sub/c"].map(|path| find(&repo, path).unwrap());
        let link = nodes[0].link.unwrap();
        assert_eq!(link.count, 3);
        for node in &nodes {
            assert_eq!(node.link, Some(link));
            assert_eq!(node.xattrs.len(), 1, "{}", String::from_utf8_lossy(&node.name));
            assert_eq!(content(&repo, node), noise(1, 100_000));
        }
    }
}

#[test]
fn what_the_patterns_name_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let put = |path: &str, bytes: &[u8]| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    put("keep/file.txt", b"x");
    put("keep/file.tmp", b"x");
    put("keep/important.tmp", b"x");
    put("cache/CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55\n");
    put("cache/data", b"x");
    put("fake/CACHEDIR.TAG", b"not a tag");
    put("fake/data", b"x");
    put("tagged/.nobackup", b"");
    put("tagged/data", b"x");
    put("nested/.icecoreignore", b"*.log\n!keep.log\n/only-here\n");
    put("nested/a.log", b"x");
    put("nested/keep.log", b"x");
    put("nested/only-here", b"x");
    put("nested/deep/only-here", b"x");
    put("large", &noise(1, 5000));
    let excludes = ExcludeOptions {
        patterns: vec!["*.tmp".into(), "!important.tmp".into()],
        if_present: vec![".nobackup".into()],
        caches: true,
        ignore_files: true,
        larger_than: Some(4999),
        ..ExcludeOptions::default()
    };
    let repo = repository();
    try_ingest(&repo, dir.path(), &IngestOptions { excludes, ..options() }, &Silent).unwrap();
    let expected = [
        ("keep/file.txt", true),
        ("keep/file.tmp", false),
        ("keep/important.tmp", true),
        ("cache/CACHEDIR.TAG", true),
        ("cache/data", false),
        ("fake/data", true),
        ("tagged/.nobackup", true),
        ("tagged/data", false),
        ("nested/a.log", false),
        ("nested/keep.log", true),
        ("nested/only-here", false),
        ("nested/deep/only-here", true),
        ("large", false),
    ];
    for (path, there) in expected {
        assert_eq!(find(&repo, path).is_some(), there, "{path}");
    }
}

#[test]
fn several_sources_appear_at_their_absolute_paths() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    for path in ["a/one", "a/two", "b/three"] {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, b"x").unwrap();
    }
    let repo = repository();
    let paths = vec![root.join("a/one"), root.join("b")];
    let input = Input::Paths { base: None, paths };
    ingest::run(&repo, input, &options(), &Silent, &AtomicBool::new(false)).unwrap();
    let below = root.strip_prefix("/").unwrap().to_str().unwrap();
    assert!(find(&repo, &format!("{below}/a/one")).is_some());
    assert!(find(&repo, &format!("{below}/b/three")).is_some());
    assert!(find(&repo, &format!("{below}/a/two")).is_none());
}

#[test]
fn a_stream_becomes_a_file_and_a_failed_producer_leaves_nothing() {
    let repo = repository();
    let stream = |finish: Result<(), String>| {
        Input::Stream(Stream {
            name: b"/db/dump.sql".to_vec(),
            reader: Box::new(std::io::Cursor::new(noise(5, 300_000))),
            finish: Box::new(move || finish),
        })
    };
    let interrupted = AtomicBool::new(false);
    let failed = stream(Err("pg_dump ended with exit status 1".into()));
    assert!(ingest::run(&repo, failed, &options(), &Silent, &interrupted).is_err());
    assert!(repo.snapshots().unwrap().snapshots.is_empty());
    ingest::run(&repo, stream(Ok(())), &options(), &Silent, &interrupted).unwrap();
    assert_eq!(content(&repo, &find(&repo, "db/dump.sql").unwrap()), noise(5, 300_000));
}

#[test]
fn an_interrupted_ingest_leaves_no_snapshot_and_a_dry_run_nothing_at_all() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), noise(1, 100_000)).unwrap();
    let repo = repository();
    let input = || Input::Paths { base: Some(dir.path().into()), paths: vec![".".into()] };
    let stopped = ingest::run(&repo, input(), &options(), &Silent, &AtomicBool::new(true));
    assert!(matches!(stopped, Err(OpError::Interrupted)));
    let dry = IngestOptions { dry_run: true, ..options() };
    let report = ingest::run(&repo, input(), &dry, &Silent, &AtomicBool::new(false)).unwrap();
    assert_eq!((report.snapshot, report.bytes), (None, 100_000));
    assert!(repo.snapshots().unwrap().snapshots.is_empty());
}

#[test]
fn attributes_are_read_again_where_the_ctime_is_ignored() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, noise(1, 3000)).unwrap();
    let set = |value: &[u8]| {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(&file, "user.test", value, flags).unwrap();
    };
    set(b"old");
    let repo = repository();
    ingest_tree(&repo, dir.path());
    set(b"new");
    let ignoring = IngestOptions { ignore_ctime: true, ..options() };
    let report = try_ingest(&repo, dir.path(), &ignoring, &Silent).unwrap();
    assert_eq!(report.bytes_read, 0);
    assert_eq!(find(&repo, "file").unwrap().xattrs[0].value, b"new");
}

#[test]
fn a_stream_that_cannot_be_stored_fails_with_the_reason() {
    let storage = MemoryStorage::new();
    Repository::init(&storage, None, "", InitOptions::default()).unwrap();
    // The beat is put, the first pack is not.
    let cut = CutPoint { step: 1, when: When::Before };
    let storage = FaultStorage::cut_at(storage, cut);
    let repo = Repository::open(Arc::new(storage), None, &OpenOptions::default()).unwrap();
    let waited_for = Arc::new(AtomicBool::new(false));
    let finished = Arc::clone(&waited_for);
    let stream = Stream {
        name: b"dump".to_vec(),
        reader: Box::new(std::io::Cursor::new(noise(1, 100 << 20))),
        finish: Box::new(move || {
            finished.store(true, std::sync::atomic::Ordering::SeqCst);
            Ok(())
        }),
    };
    let result =
        ingest::run(&repo, Input::Stream(stream), &options(), &Silent, &AtomicBool::new(false));
    assert!(matches!(result, Err(OpError::Repo(_))), "{result:?}");
    assert!(waited_for.load(std::sync::atomic::Ordering::SeqCst), "the producer is reaped");
}

/// An index that lost its segment of data packs: small and large files are both read again.
#[test]
fn what_the_index_lost_is_stored_again() {
    let storage = Arc::new(MemoryStorage::new());
    Repository::init(&*storage, None, "", InitOptions::default()).unwrap();
    let open = || Repository::open(storage.clone(), None, &OpenOptions::default()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("large"), noise(1, 40 << 20)).unwrap();
    std::fs::write(dir.path().join("small"), noise(2, 100_000)).unwrap();
    ingest_tree(&open(), dir.path());
    let mut builder = SegmentBuilder::default();
    let mut header = Vec::new();
    for id in open().stored_segments().unwrap() {
        let key = ObjectKey::Segment(id);
        let bytes = storage.get(&key, u64::MAX).unwrap();
        header = bytes[..OBJECT_HEADER_LEN].to_vec();
        let segment = Segment::open(bytes[OBJECT_HEADER_LEN..].to_vec()).unwrap();
        for item in segment.iter() {
            let (id, place) = item.unwrap();
            if place.pack.kind == PackKind::Meta {
                let pack = builder.add_pack(place.pack);
                let Place { block_offset, block_len, chunk_offset, chunk_len, base, .. } = place;
                builder.add(Record {
                    id,
                    pack,
                    block_offset,
                    block_len,
                    chunk_offset,
                    chunk_len,
                    base,
                });
            }
        }
        storage.delete(&key).unwrap();
    }
    header.extend(builder.encode());
    let id = SegmentId(*blake3::hash(&header).as_bytes());
    storage.put_new(&ObjectKey::Segment(id), &header).unwrap();
    let report = ingest_tree(&open(), dir.path());
    assert_eq!(counts(&report), (0, 0, 2), "stored again, and just as they were");
    assert_eq!(report.bytes_read, (40 << 20) + 100_000);
    let repo = open();
    assert_eq!(content(&repo, &find(&repo, "small").unwrap()), noise(2, 100_000));
    assert_eq!(content(&repo, &find(&repo, "large").unwrap()), noise(1, 40 << 20));
}
