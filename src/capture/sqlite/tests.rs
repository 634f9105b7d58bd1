use tempfile::TempDir;

use super::*;

struct Folder {
    temp: TempDir,
    dir: Dir,
}

impl Folder {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        Self { temp, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn open(&self, mode: &str) -> Connection {
        let db = Connection::open(self.path("a.db")).unwrap();
        db.query_row(&format!("PRAGMA journal_mode={mode}"), [], |_| Ok(())).unwrap();
        db.execute_batch("PRAGMA wal_autocheckpoint=0; CREATE TABLE t(n); INSERT INTO t VALUES(1)")
            .unwrap();
        db
    }

    fn copy(&self) -> Result<Copied, Refused> {
        let file = SourceFile::open(&self.dir, b"a.db").unwrap();
        let mut first = [0; HEADER_LEN];
        file.read_at(0, &mut first).unwrap();
        assert!(is_database(&first, file.found().size));
        copy(&self.dir, b"a.db", file.found(), &first)
    }

    /// Names and bytes of all files.
    fn all(&self) -> Vec<(OsString, [u8; 32])> {
        let entries = std::fs::read_dir(self.temp.path()).unwrap().map(Result::unwrap);
        let mut all: Vec<_> = entries
            .filter(|entry| !entry.file_name().as_bytes().ends_with(b"-shm"))
            .map(|entry| {
                let bytes = std::fs::read(entry.path()).unwrap();
                (entry.file_name(), *blake3::hash(&bytes).as_bytes())
            })
            .collect();
        all.sort();
        all
    }
}

fn rows(copied: &Copied) -> i64 {
    let (folder, name) = copied.place();
    let path = folder.join(std::ffi::OsStr::from_bytes(name));
    let db = Connection::open(path).unwrap();
    db.query_row("SELECT sum(n) FROM t", [], |row| row.get(0)).unwrap()
}

#[test]
fn what_the_log_holds_is_in_the_copy_and_the_log_stays() {
    let place = Folder::new();
    let db = place.open("wal");
    db.execute_batch("INSERT INTO t VALUES(41)").unwrap();
    let before = place.all();
    let copied = place.copy().unwrap();
    assert_eq!(rows(&copied), 42);
    assert_eq!(place.all(), before, "neither checkpointed nor removed");
    let fact = |name: &str| copied.facts.iter().find(|(fact, _)| fact == name).unwrap().1.clone();
    assert_eq!((fact("journal_mode"), fact("page_size")), ("wal".into(), "4096".into()));
    assert_eq!(fact("rows.t"), "2");
    assert!(copied.facts.is_sorted());
}

#[test]
fn a_database_that_nobody_has_open_gets_no_neighbours() {
    let place = Folder::new();
    drop(place.open("wal"));
    assert!(!place.path("a.db-wal").exists());
    assert_eq!(rows(&place.copy().unwrap()), 1);
    let names: Vec<_> = std::fs::read_dir(place.temp.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

/// What a writer that was killed leaves: a log that nobody serves.
#[test]
fn a_log_without_its_shared_memory_is_brought_together_elsewhere() {
    let (place, live) = (Folder::new(), Folder::new());
    let db = live.open("wal");
    for name in ["a.db", "a.db-wal"] {
        std::fs::copy(live.path(name), place.path(name)).unwrap();
    }
    drop(db);
    assert_eq!(rows(&place.copy().unwrap()), 1);
    assert!(!place.path("a.db-shm").exists());
}

#[test]
fn a_hot_journal_is_rolled_back_in_the_copy() {
    let (place, live) = (Folder::new(), Folder::new());
    let db = live.open("delete");
    db.execute_batch("PRAGMA cache_size=1; PRAGMA cache_spill=1; CREATE TABLE big(b)").unwrap();
    db.execute_batch("INSERT INTO big SELECT zeroblob(3000) FROM t").unwrap();
    db.execute_batch("BEGIN; UPDATE t SET n=5").unwrap();
    for _ in 0..50 {
        db.execute_batch("INSERT INTO big VALUES(randomblob(3000))").unwrap();
    }
    for name in ["a.db", "a.db-journal"] {
        std::fs::copy(live.path(name), place.path(name)).unwrap();
    }
    assert_eq!(rows(&place.copy().unwrap()), 1);
    assert!(place.path("a.db-journal").exists(), "the source keeps its journal");
}

/// The files beside it are made by another user, who may call a pipe so.
#[test]
fn a_pipe_named_like_a_log_or_journal_blocks_nothing() {
    for mode in ["wal", "delete"] {
        for suffix in ["-wal", "-shm", "-journal"] {
            let place = Folder::new();
            drop(place.open(mode));
            let pipe = place.path(&format!("a.db{suffix}"));
            let (fifo, all) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
            rustix::fs::mknodat(rustix::fs::CWD, &pipe, fifo, all, 0).unwrap();
            let refused = place.copy().unwrap_err();
            assert_eq!(refused, Refused::NoDatabase(format!("its {suffix} is no file")));
            // The copy by hand does not either, where it came there later.
            let (dir, name) = (&place.dir, &b"a.db"[..]);
            let at = super::Place { dir, name, path: place.path("a.db") };
            let scratch = Scratch::new().unwrap();
            assert_eq!(at.private(scratch.path()).is_err(), suffix != "-shm", "{suffix}");
        }
    }
}

#[test]
fn what_is_no_database_is_told_from_one_that_cannot_be_had_now() {
    let place = Folder::new();
    drop(place.open("delete"));
    let whole = std::fs::read(place.path("a.db")).unwrap();
    let refused = |bytes: &[u8]| {
        std::fs::write(place.path("a.db"), bytes).unwrap();
        place.copy().unwrap_err()
    };
    let mut bytes = whole.clone();
    bytes[100..].fill(0xa5);
    let Refused::NoDatabase(what) = refused(&bytes) else { panic!("damaged") };
    assert!(what.contains("SQLite cannot read it"), "{what}");
    let Refused::NoDatabase(what) = refused(&whole[..4096]) else { panic!("truncated") };
    assert!(what.contains("malformed"), "{what}");
    // A schema format of a version to come.
    bytes.clone_from(&whole);
    bytes[47] = 9;
    let Refused::NoDatabase(what) = refused(&bytes) else { panic!("of later") };
    assert!(what.contains("unsupported file format"), "{what}");
    std::fs::write(place.path("a.db"), &whole).unwrap();
    assert_eq!(rows(&place.copy().unwrap()), 1);
}

#[test]
fn headers_and_names() {
    let mut header = [0_u8; HEADER_LEN];
    header[..16].copy_from_slice(MAGIC);
    header[16..24].copy_from_slice(&[0x10, 0, 2, 2, 0, 64, 32, 32]);
    assert!(is_database(&header, 4096));
    assert!(!is_database(&header, 511) && !is_database(&header[..99], 4096));
    for (at, byte) in [(0, b's'), (16, 0x11), (18, 3), (21, 63)] {
        let mut other = header;
        other[at] = byte;
        assert!(!is_database(&other, 4096), "{at}");
    }
    assert_eq!(main_of(b"a.db-wal"), Some(&b"a.db"[..]));
    assert_eq!((main_of(b"-wal"), main_of(b"a.db")), (None, None));
    assert_eq!(immutable(Path::new("/a b/x?y")), "file:/a%20b/x%3fy?immutable=1");
}

#[test]
fn a_log_that_grew_has_another_state() {
    let place = Folder::new();
    let db = place.open("wal");
    let before = log_state(&place.dir, b"a.db");
    assert_eq!(log_state(&place.dir, b"a.db"), before);
    db.execute_batch("INSERT INTO t VALUES(2)").unwrap();
    assert_ne!(log_state(&place.dir, b"a.db"), before);
    drop(db);
    assert_eq!(log_state(&place.dir, b"a.db"), "none");
}
