//! Captures of live stores: what comes back is of one moment and starts as it is, where a plain
//! copy of the same files fails the same check. Guards against copies that only look whole, traces
//! in the source, and writers that stay stopped.

mod capture_world;
mod common;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use capture_world::{
    capture, eventually, fact, ingest_tree, latest, options, postgres, redis, restore, strategy,
};
use common::library::{content, find, repository, try_ingest};
use icecore::ops::ingest::{self, IngestOptions, Input, Stage, Stages, Stream};
use icecore::progress::Silent;
use icecore::repo::Repository;
use rusqlite::Connection;

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// A database whose two tables must agree.
fn database(path: &Path, mode: &str) -> Connection {
    let db = Connection::open(path).unwrap();
    db.busy_timeout(Duration::from_secs(20)).unwrap();
    db.query_row(&format!("PRAGMA journal_mode={mode}"), [], |_| Ok(())).unwrap();
    db.execute_batch(
        "PRAGMA synchronous=OFF; CREATE TABLE a(n); CREATE TABLE b(n, pad); \
         CREATE INDEX i ON b(n); INSERT INTO a VALUES(0); INSERT INTO b VALUES(0, '')",
    )
    .unwrap();
    db
}

const ADD: &str = "BEGIN IMMEDIATE; INSERT INTO a SELECT max(n) + 1 FROM a; \
                   INSERT INTO b SELECT max(n) + 1, hex(randomblob(400)) FROM b; COMMIT";

/// The number of transactions, if the database is whole.
fn count(path: &Path) -> Result<i64, String> {
    let db = Connection::open(path).unwrap();
    let one = |query: &str| db.query_row(query, [], |row| row.get::<_, String>(0));
    let checked = one("PRAGMA integrity_check").map_err(|err| err.to_string())?;
    let (a, b) = ("SELECT max(n) || '' FROM a", "SELECT max(n) || '' FROM b");
    let (a, b) = (one(a).map_err(|e| e.to_string())?, one(b).map_err(|e| e.to_string())?);
    match checked == "ok" && a == b {
        true => Ok(a.parse().unwrap()),
        false => Err(format!("{checked}, {a} and {b}")),
    }
}

/// Stages that a test wrote down.
struct Written<'a>(Vec<Stage<'a>>);

impl Stages for Written<'_> {
    fn sources(&self) -> Vec<icecore::format::Source> {
        vec![icecore::format::Source { path: b"written".to_vec() }]
    }

    fn next(&mut self) -> icecore::ops::Result<Option<Stage<'_>>> {
        Ok(if self.0.is_empty() { None } else { Some(self.0.remove(0)) })
    }

    fn captures(&mut self) -> Vec<icecore::format::Capture> {
        Vec::new()
    }
}

fn paths<'a>(base: &Path, paths: &[&str]) -> Stage<'a> {
    let base = Some(base.to_owned());
    let paths = paths.iter().map(Into::into).collect();
    Stage::new("", Input::Paths { base, paths })
}

fn made<'a>(name: &str, text: &'static str) -> Stage<'a> {
    let (name, reader) = (name.as_bytes().to_vec(), Box::new(text.as_bytes()));
    Stage::new("", Input::Stream(Stream { name, reader, finish: Box::new(|| Ok(())) }))
}

fn staged(repo: &Repository, stages: Vec<Stage<'_>>) -> ingest::IngestReport {
    let never = AtomicBool::new(false);
    ingest::run_stages(repo, &mut Written(stages), &options(), &Silent, &never).unwrap()
}

#[test]
fn later_stages_add_to_earlier_ones_and_nothing_is_read_twice() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for (path, text) in [("d/log/1", "one"), ("d/log/2", "two"), ("d/x", "raw"), ("d/big/z", "z")] {
        write(&root.join(path), &text.repeat(1000));
    }
    std::fs::hard_link(root.join("d/big/z"), root.join("d/link")).unwrap();
    let repo = repository();
    let stages = || {
        let first = Stage { excludes: vec!["/d/log/*".into()], ..paths(root, &["d"]) };
        vec![first, paths(root, &["d/log/2"]), made("d/x", "made"), made("d/new/y", "new")]
    };
    let before = staged(&repo, stages());
    assert!(find(&repo, "d/log/1").is_none());
    let text = |path: &str| String::from_utf8(content(&repo, &find(&repo, path).unwrap())).unwrap();
    assert_eq!((text("d/x"), text("d/new/y")), ("made".into(), "new".into()));
    assert_eq!(text("d/log/2"), "two".repeat(1000));
    let mode =
        |path: &Path| std::os::unix::fs::MetadataExt::mode(&path.metadata().unwrap()) & 0o7777;
    assert_eq!(find(&repo, "d").unwrap().mode, mode(&root.join("d")), "not the made-up one's");
    let totals = latest(&repo).totals();
    assert_eq!((totals.files, totals.directories), (5, 4));
    let links = ["d/big/z", "d/link"].map(|path| find(&repo, path).unwrap().link.unwrap());
    assert_eq!(links[0], links[1]);
    let after = staged(&repo, stages());
    assert_eq!(after.parent, before.snapshot);
    assert_eq!(after.bytes_read, 3000 + 4 + 3, "the file that was replaced, and the streams");
    assert_eq!(latest(&repo).totals(), totals);
}

#[test]
fn a_stage_begins_when_the_one_before_was_read() {
    struct Ordered<'a>(&'a Path, u32);
    impl Stages for Ordered<'_> {
        fn sources(&self) -> Vec<icecore::format::Source> {
            Vec::new()
        }
        fn next(&mut self) -> icecore::ops::Result<Option<Stage<'_>>> {
            self.1 += 1;
            // What was read before does not see this, what is read after does.
            write(&self.0.join("d/state"), &format!("{}{}", self.1, "x".repeat(2000)));
            Ok((self.1 < 3).then(|| paths(self.0, &["d"])))
        }
        fn captures(&mut self) -> Vec<icecore::format::Capture> {
            Vec::new()
        }
    }
    let (dir, repo, never) = (tempfile::tempdir().unwrap(), repository(), AtomicBool::new(false));
    let mut stages = Ordered(dir.path(), 0);
    ingest::run_stages(&repo, &mut stages, &options(), &Silent, &never).unwrap();
    assert_eq!(content(&repo, &find(&repo, "d/state").unwrap())[0], b'2');
}

#[test]
fn databases_are_whole_while_they_are_written_to() {
    for mode in ["wal", "delete"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("live.db");
        let (stop, done) = (AtomicBool::new(false), AtomicI64::new(0));
        let db = database(&path, mode);
        std::thread::scope(|scope| {
            let _stops = Stops(&stop);
            scope.spawn(|| {
                let db = db;
                while !stop.load(Ordering::SeqCst) {
                    db.execute_batch(ADD).unwrap();
                    done.fetch_add(1, Ordering::SeqCst);
                }
            });
            eventually("writing begins", || done.load(Ordering::SeqCst) > 20);
            let repo = repository();
            for round in 0..5 {
                let before = done.load(Ordering::SeqCst);
                let report = ingest_tree(&repo, dir.path());
                assert!(report.troubles.is_empty(), "{:?}", report.troubles);
                let back = tempfile::tempdir().unwrap();
                restore(&repo, Path::new("/"), &back.path().join("all"));
                let found = count(&back.path().join("all/live.db"));
                assert!(found.clone().unwrap() >= before, "{mode} {round}: {found:?} of {before}");
                for name in ["live.db-wal", "live.db-shm", "live.db-journal"] {
                    assert!(find(&repo, name).is_none(), "{name}");
                }
            }
            let snapshot = latest(&repo);
            let [record] = snapshot.captures.as_slice() else { panic!("{:?}", snapshot.captures) };
            assert_eq!(
                (record.method.as_str(), record.path.as_slice()),
                ("sqlite", &b"live.db"[..])
            );
            assert_eq!(fact(record, "page_size"), "4096");
        });
    }
}

/// Ends a writer, also where its test fails.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The copy that everybody makes: the file without its log.
#[test]
fn a_naive_copy_of_a_database_has_lost_what_is_in_its_log() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("live.db");
    let db = database(&path, "wal");
    db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA wal_autocheckpoint=0").unwrap();
    (0..100).for_each(|_| db.execute_batch(ADD).unwrap());
    let copy = dir.path().join("copy.db");
    std::fs::copy(&path, &copy).unwrap();
    assert_ne!(count(&copy), Ok(100));
    let (repo, back) = (repository(), tempfile::tempdir().unwrap());
    ingest_tree(&repo, dir.path());
    restore(&repo, Path::new("/live.db"), &back.path().join("live.db"));
    assert_eq!(count(&back.path().join("live.db")), Ok(100));
}

#[test]
fn unchanged_databases_are_not_captured_again_and_a_changed_log_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let db = database(&dir.path().join("live.db"), "wal");
    db.execute_batch("PRAGMA wal_autocheckpoint=0").unwrap();
    database(&dir.path().join("idle.db"), "delete");
    (0..50).for_each(|_| db.execute_batch(ADD).unwrap());
    let repo = repository();
    assert!(ingest_tree(&repo, dir.path()).bytes_read > 0);
    let dry = IngestOptions { dry_run: true, ..options() };
    let dry = try_ingest(&repo, dir.path(), &dry, &Silent).unwrap();
    assert_eq!(dry.files_changed, 0);
    let again = ingest_tree(&repo, dir.path());
    assert_eq!((again.bytes_read, again.files_unchanged), (0, 2));
    assert_eq!(latest(&repo).captures.len(), 2, "the records go on");
    let main = std::fs::metadata(dir.path().join("live.db")).unwrap().modified().unwrap();
    db.execute_batch(ADD).unwrap();
    assert_eq!(std::fs::metadata(dir.path().join("live.db")).unwrap().modified().unwrap(), main);
    assert!(ingest_tree(&repo, dir.path()).bytes_read > 0);
    let back = tempfile::tempdir().unwrap();
    restore(&repo, Path::new("/live.db"), &back.path().join("a.db"));
    assert_eq!(count(&back.path().join("a.db")), Ok(51));
    // Raw for once: what came through SQLite does not stand for the files.
    let raw = IngestOptions { raw_sqlite: true, ..options() };
    try_ingest(&repo, dir.path(), &raw, &Silent).unwrap();
    for name in ["live.db", "live.db-wal"] {
        let stored = content(&repo, &find(&repo, name).unwrap());
        assert_eq!(stored, std::fs::read(dir.path().join(name)).unwrap(), "{name}");
    }
}

/// Bytes that begin like a database and are none, with a log.
fn damaged(folder: &Path) -> Vec<u8> {
    drop(database(&folder.join("bad.db"), "delete"));
    let mut bytes = std::fs::read(folder.join("bad.db")).unwrap();
    bytes[100..2000].fill(0x5a);
    std::fs::write(folder.join("bad.db"), &bytes).unwrap();
    std::fs::write(folder.join("bad.db-wal"), b"a log").unwrap();
    bytes
}

#[test]
fn what_sqlite_calls_no_database_is_stored_as_it_is_with_its_log_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = damaged(dir.path());
    let repo = repository();
    for round in 0..2 {
        let report = ingest_tree(&repo, dir.path());
        assert!(report.troubles.is_empty(), "{:?}", report.troubles);
        let [record] = report.captures.as_slice() else { panic!("{:?}", report.captures) };
        assert_eq!((record.method.as_str(), &*record.path), ("sqlite as file", &b"bad.db"[..]));
        assert!(fact(record, "reason").contains("SQLite"), "{record:?}");
        assert_eq!(report.files_unchanged, 2 * round, "it is not asked again");
        assert_eq!(content(&repo, &find(&repo, "bad.db").unwrap()), bytes);
        assert_eq!(content(&repo, &find(&repo, "bad.db-wal").unwrap()), b"a log");
    }
    // Once it is repaired it is one again.
    std::fs::remove_file(dir.path().join("bad.db")).unwrap();
    std::fs::remove_file(dir.path().join("bad.db-wal")).unwrap();
    drop(database(&dir.path().join("bad.db"), "delete"));
    assert_eq!(ingest_tree(&repo, dir.path()).captures[0].method, "sqlite");
}

#[test]
fn a_source_of_databases_that_are_none_is_partial() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = damaged(dir.path());
    let path = dir.path().join("bad.db");
    let repo = repository();
    let text = format!("[sources.db]\nsqlite = [\"{}\"]", path.display());
    let report = capture(&repo, &strategy(&text), "db").unwrap();
    assert_eq!(report.troubles.len(), 1, "{:?}", report.troubles);
    assert!(report.troubles[0].what.contains("stored as the file it is"), "{report:?}");
    let stored = find(&repo, path.strip_prefix("/").unwrap().to_str().unwrap()).unwrap();
    assert_eq!(content(&repo, &stored), bytes);
    std::fs::remove_file(&path).unwrap();
    let (fifo, all) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
    rustix::fs::mknodat(rustix::fs::CWD, &path, fifo, all, 0).unwrap();
    let err = capture(&repo, &strategy(&text), "db").unwrap_err().to_string();
    assert!(err.contains("is no SQLite database"), "{err}");
}

#[test]
fn a_locked_database_is_a_trouble_and_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let db = database(&dir.path().join("live.db"), "delete");
    db.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let repo = repository();
    let report = ingest_tree(&repo, dir.path());
    assert_eq!(report.troubles.len(), 1, "{:?}", report.troubles);
    assert!(report.troubles[0].what.contains("locked"), "{:?}", report.troubles);
    db.execute_batch("COMMIT").unwrap();
    let report = ingest_tree(&repo, dir.path());
    assert_eq!((report.troubles.len(), report.captures.len()), (0, 1), "{report:?}");
}

#[test]
fn a_command_gives_a_file_or_no_snapshot() {
    let repo = repository();
    let strategy = strategy(
        r#"
        [sources.good]
        command = { run = "echo from $ICECORE_SOURCE", name = "out.txt" }
        labels = ["dump"]
        [sources.bad]
        command = { run = "echo half; echo 'no disk' >&2; exit 3", name = "out.txt" }
        [sources.slow]
        command = { run = ["sleep", "100"], name = "out.txt", timeout = "1s" }
        [sources.none]
        command = { run = ["/nonexistent/program"], name = "out.txt" }
        "#,
    );
    for (name, expected) in [
        (
            "bad",
            "source bad: /bin/sh -c echo half; echo 'no disk' >&2; exit 3 failed: exit status 3: no disk",
        ),
        ("slow", "took more than 1 s"),
        ("none", "cannot run /nonexistent/program"),
        ("other", "the strategy has no source other"),
    ] {
        let err = capture(&repo, &strategy, name).unwrap_err().to_string();
        assert!(err.contains(expected), "{err}");
    }
    assert!(repo.snapshots().unwrap().snapshots.is_empty());
    capture(&repo, &strategy, "good").unwrap();
    assert_eq!(content(&repo, &find(&repo, "out.txt").unwrap()), b"from good\n");
    let snapshot = latest(&repo);
    assert_eq!(snapshot.tags, ["dump"]);
    assert_eq!(snapshot.captures[0].method, "command");
}

#[test]
fn hooks_surround_a_group_and_thaw_follows_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    write(&dir.path().join("one/f"), "1");
    write(&dir.path().join("two/f.skip"), "2");
    write(&dir.path().join("two/g"), "3");
    let say = |word: &str| format!("echo {word} >> {}", at("said"));
    let file = |member: &str| {
        format!(
            r#"
            [sources.one]
            paths = ["{}"]
            hooks = {{ before = "{}" }}
            [sources.two]
            {member}
            exclude = ["*.skip"]
            hooks = {{ on-failure = "{}", after = "{}" }}
            [sources.all]
            group = {{ members = ["one", "two"], freeze = "{}", thaw = "{}" }}
            hooks = {{ before = "{}", after = "{}", on-failure = "{}; echo $ICECORE_ERROR >> {}" }}
            "#,
            at("one"),
            say("one"),
            say("member"),
            say("two"),
            say("freeze"),
            say("thaw"),
            say("before"),
            say("after"),
            say("failure"),
            at("said"),
        )
    };
    let repo = repository();
    let report = capture(&repo, &strategy(&file(&format!("paths = [\"{}\"]", at("two")))), "all");
    assert_eq!(report.unwrap().files_new, 2);
    assert_eq!(read(&dir.path().join("said")), "before\nfreeze\none\ntwo\nthaw\nafter\n");
    let told = latest(&repo).captures;
    let told: Vec<_> = told.iter().map(|c| (c.source.as_str(), c.method.as_str())).collect();
    assert_eq!(told, [("all", "group"), ("one", "files"), ("two", "files")]);

    std::fs::remove_file(dir.path().join("said")).unwrap();
    let fails = strategy(&file("command = { run = \"exit 9\", name = \"x\" }"));
    assert!(capture(&repo, &fails, "all").is_err());
    let said = read(&dir.path().join("said"));
    let words: Vec<_> = said.lines().collect();
    let expected = ["before", "freeze", "one", "member", "two", "thaw", "failure"];
    assert_eq!(&words[..7], expected, "{said}");
    assert!(words[7].contains("exit status 9") && words[8] == "after", "{said}");
    assert_eq!(repo.snapshots().unwrap().snapshots.len(), 1);
}

#[test]
fn a_server_with_a_log_comes_back_with_all_that_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("live");
    std::fs::create_dir(&data).unwrap();
    let server = redis::Server::start(&data, true);
    let stop = AtomicBool::new(false);
    let (repo, done) = (repository(), AtomicI64::new(0));
    let text = format!("[sources.cache]\nredis = {{ address = \"{}\" }}", server.socket.display());
    let before = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = server.client();
            while !stop.load(Ordering::SeqCst) {
                let mut both = ::redis::pipe();
                both.atomic().cmd("INCR").arg("a").cmd("INCR").arg("b");
                let (a, _): (i64, i64) = both.query(&mut client).unwrap();
                done.store(a, Ordering::SeqCst);
            }
        });
        eventually("writing begins", || done.load(Ordering::SeqCst) > 100);
        server.ask::<String>(&["CONFIG", "SET", "auto-aof-rewrite-percentage", "77"]);
        server.ask::<String>(&["BGREWRITEAOF"]);
        let before = done.load(Ordering::SeqCst);
        let report = capture(&repo, &strategy(&text), "cache");
        stop.store(true, Ordering::SeqCst);
        assert!(report.unwrap().troubles.is_empty());
        before
    });
    let setting: Vec<String> = server.ask(&["CONFIG", "GET", "auto-aof-rewrite-percentage"]);
    assert_eq!(setting[1], "77", "as it was");
    let record = latest(&repo).captures.remove(0);
    assert_eq!((record.source.as_str(), record.method.as_str()), ("cache", "redis aof"));
    assert_eq!(fact(&record, "dbsize"), "2");
    let back = dir.path().join("back");
    restore(&repo, &data, &back);
    let restored = redis::Server::start(&back, true);
    let [a, b]: [i64; 2] = restored.ask(&["MGET", "a", "b"]);
    assert!(a == b && a >= before, "{a} {b} {before}");

    // The copy that everybody makes: the dump alone.
    let naive = dir.path().join("naive");
    std::fs::create_dir(&naive).unwrap();
    server.ask::<String>(&["SAVE"]);
    std::fs::copy(data.join("dump.rdb"), naive.join("dump.rdb")).unwrap();
    assert_eq!(redis::Server::start(&naive, true).ask::<i64>(&["DBSIZE"]), 0);
}

#[test]
fn a_server_without_a_log_is_dumped_first() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("live");
    std::fs::create_dir(&data).unwrap();
    let server = redis::Server::start(&data, false);
    server.ask::<String>(&["SET", "key", "value"]);
    let repo = repository();
    let text = format!("[sources.cache]\nredis = {{ address = \"{}\" }}", server.socket.display());
    let assets = |text: &str| {
        let text = format!("assets = [\"{}\"]\n{text}", data.display());
        let strategy = icecore::strategy::file::Strategy::parse(&text).unwrap();
        let never = AtomicBool::new(false);
        icecore::ops::coverage::run(&strategy, &[], &never).unwrap()
    };
    capture(&repo, &strategy(&text), "cache").unwrap();
    assert_eq!(assets("").assets.len(), 1, "the dump");
    let covered = assets(&text);
    assert_eq!((covered.files_covered, covered.uncovered), (1, vec![]), "by its server");
    assert_eq!(latest(&repo).captures[0].method, "redis rdb");
    let back = dir.path().join("back");
    restore(&repo, &data, &back);
    assert_eq!(redis::Server::start(&back, false).ask::<String>(&["GET", "key"]), "value");
    server.ask::<String>(&["CONFIG", "SET", "requirepass", "secret"]);
    let refused = capture(&repo, &strategy(&text), "cache").unwrap_err().to_string();
    assert!(refused.contains("as password-file"), "{refused}");
    let gone = strategy("[sources.cache]\nredis = { address = \"/nonexistent/sock\" }");
    let err = capture(&repo, &gone, "cache").unwrap_err().to_string();
    assert!(err.starts_with("source cache: cannot connect to /nonexistent/sock"), "{err}");
}

const TABLES: &str = "CREATE TABLE a AS SELECT g AS id, 0 AS n FROM generate_series(1, 5000) g; \
                      CREATE TABLE b AS SELECT * FROM a; CREATE TABLE h(id serial, at timestamptz)";
const TRANSFER: &str = "\\set i random(1, 5000)\nBEGIN;\nUPDATE a SET n = n + 1 WHERE id = :i;\n\
                        UPDATE b SET n = n - 1 WHERE id = :i;\n\
                        INSERT INTO h(at) VALUES (now());\nCOMMIT;\n";
const SUM: &str = "SELECT (SELECT sum(n) FROM a) + (SELECT sum(n) FROM b)";

#[test]
fn a_data_directory_starts_as_it_is_and_has_lost_nothing() {
    let dir = tempfile::tempdir().unwrap();
    postgres::folder(dir.path());
    let server = postgres::Server::new(&dir.path().join("live"));
    let space = dir.path().join("space");
    postgres::folder(&space);
    server.sql(TABLES);
    server.sql(&format!("CREATE TABLESPACE far LOCATION '{}'", space.display()));
    server.sql("CREATE TABLE there TABLESPACE far AS SELECT 42 AS n");
    let repo = repository();
    let text = format!("[sources.db]\npostgres = {{ connection = \"{}\" }}", server.connection());
    let rows = || server.sql("SELECT count(*) FROM h").parse::<i64>().unwrap();
    let load = server.load(TRANSFER);
    for round in 0..2 {
        eventually("transactions run", || rows() > 100 * (round + 1));
        let before = rows();
        let report = capture(&repo, &strategy(&text), "db").unwrap();
        assert!(report.troubles.is_empty(), "{:?}", report.troubles);
        server.sql("CHECKPOINT");
        let back = dir.path().join(format!("back{round}"));
        restore(&repo, &server.data, &back);
        assert!(!back.join("postmaster.pid").exists() && back.join("backup_label").exists());
        // The tablespace's map leads to the original place; here it must not.
        std::fs::remove_file(back.join("tablespace_map")).unwrap();
        let far = dir.path().join(format!("far{round}"));
        restore(&repo, &space, &far);
        for link in std::fs::read_dir(back.join("pg_tblspc")).unwrap() {
            let link = link.unwrap().path();
            std::fs::remove_file(&link).unwrap();
            std::os::unix::fs::symlink(&far, link).unwrap();
        }
        let restored = postgres::Server::start(back, &dir.path().join(format!("sockets{round}")));
        assert_eq!(restored.sql(SUM), "0");
        assert_eq!(restored.sql("SELECT n FROM there"), "42");
        assert!(restored.sql("SELECT count(*) FROM h").parse::<i64>().unwrap() >= before);
    }
    drop(load);
    let covered = format!("assets = [\"{}\"]\n{text}", server.data.display());
    let covered = icecore::strategy::file::Strategy::parse(&covered).unwrap();
    let covered = icecore::ops::coverage::run(&covered, &[], &AtomicBool::new(false)).unwrap();
    assert!(covered.uncovered.is_empty() && covered.assets.is_empty(), "{covered:?}");
    assert!(covered.files_covered > 500 && covered.unread.is_empty());
    let record = latest(&repo).captures.remove(0);
    assert_eq!((record.source.as_str(), record.method.as_str()), ("db", "postgres physical"));
    assert_eq!(fact(&record, "timeline"), "1");
    assert!(fact(&record, "start_lsn") < fact(&record, "stop_lsn"));
    assert_eq!(server.sql("SELECT count(*) FROM pg_replication_slots"), "0");

    // The copy that everybody makes, with a checkpoint at a bad moment.
    let naive = dir.path().join("naive");
    let run = |line: String| {
        assert!(std::process::Command::new("sh").args(["-c", &line]).status().unwrap().success());
    };
    let (from, to) = (server.data.display(), naive.display());
    let table = server.sql("CHECKPOINT; SELECT pg_relation_filepath('a')");
    run(format!("cp {from}/{table} {}/early", dir.path().display()));
    server.sql("BEGIN; UPDATE a SET n = n + 1; UPDATE b SET n = n - 1; COMMIT");
    server.sql("CHECKPOINT");
    run(format!("cp -a {from} {to} && rm {to}/postmaster.pid {to}/pg_tblspc/*"));
    run(format!("cat {}/early > {to}/{table}", dir.path().display()));
    let copied = postgres::Server::start(naive, &dir.path().join("sockets-naive"));
    assert_ne!(copied.sql(SUM), "0", "it starts, and is wrong");
}

#[test]
fn dumps_of_databases_come_back() {
    let dir = tempfile::tempdir().unwrap();
    postgres::folder(dir.path());
    let server = postgres::Server::new(&dir.path().join("live"));
    server.sql("CREATE TABLE t AS SELECT 7 AS n");
    server.sql("CREATE ROLE somebody");
    let repo = repository();
    let text = format!(
        "[sources.db]\npostgres = {{ connection = \"{}\", method = \"logical\" }}",
        server.connection()
    );
    server.sql("CREATE DATABASE \"a/b\"");
    server.sql("CREATE DATABASE \"a%2Fb\"");
    capture(&repo, &strategy(&text), "db").unwrap();
    assert!(find(&repo, "db/a%2Fb.dump").is_some() && find(&repo, "db/a%252Fb.dump").is_some());
    assert!(fact(&latest(&repo).captures[0], "start_lsn").contains('/'));
    let globals = content(&repo, &find(&repo, "db/globals.sql").unwrap());
    assert!(String::from_utf8(globals).unwrap().contains("CREATE ROLE somebody"));
    let dump = dir.path().join("dump");
    restore(&repo, Path::new("/db/postgres.dump"), &dump);
    std::os::unix::fs::chown(
        &dump,
        Some(std::os::unix::fs::MetadataExt::uid(&server.data.metadata().unwrap())),
        None,
    )
    .unwrap();
    let mut listing = postgres::program("pg_restore");
    let listing = listing.arg("-f").arg("-").arg(&dump).output().unwrap();
    assert!(String::from_utf8(listing.stdout).unwrap().contains("COPY public.t"));
    let strategy = strategy(&text.replace("\"logical\"", "\"logical\", databases = [\"none\"]"));
    let err = capture(&repo, &strategy, "db").unwrap_err().to_string();
    assert!(err.contains("source db: ") && err.contains("\"none\" does not exist"), "{err}");
    let gone =
        "[sources.db]\npostgres = { connection = \"host=/nonexistent port=7 password=secret\" }";
    let err = capture(&repo, &crate::strategy(gone), "db").unwrap_err().to_string();
    assert!(err.contains("the server at /nonexistent, port 7: "), "{err}");
    assert!(err.contains("; start the server, or correct") && !err.contains("secret"), "{err}");
}

#[test]
fn a_server_that_goes_away_meanwhile_is_named_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    postgres::folder(dir.path());
    let server = postgres::Server::new(&dir.path().join("live"));
    let connection = server.connection();
    let never = std::sync::atomic::AtomicBool::new(false);
    let mut session = icecore::capture::postgres::Server::connect(&connection, &never).unwrap();
    assert_eq!(session.one("SELECT 1").unwrap(), "1");
    drop(server);
    let folder = connection.strip_prefix("host=").unwrap();
    let expected =
        format!("the server at {folder}, port 5432, ended the connection during the capture (");
    // First it says why, if it can; then it is gone.
    for _ in 0..2 {
        let err = session.one("SELECT 1").unwrap_err();
        assert!(err.starts_with(&expected) && err.contains("start it again"), "{err}");
    }
}

#[test]
fn a_registered_model_without_its_artifacts_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let db = Connection::open(dir.path().join("mlflow.db")).unwrap();
    db.execute_batch(&format!(
        "CREATE TABLE model_versions(name, version INTEGER, source, current_stage, storage_location);
         INSERT INTO model_versions VALUES('ranker', 1, 'models:/m-1', 'None', 'file://{0}/1');
         INSERT INTO model_versions VALUES('ranker', 2, '{0}/2', 'None', NULL);
         INSERT INTO model_versions VALUES('ranker', 3, 's3://bucket/3', 'None', NULL);
         INSERT INTO model_versions VALUES('ranker', 4, '{0}/4', 'Deleted_Internal', NULL)",
        at("artifacts")
    ))
    .unwrap();
    write(&dir.path().join("artifacts/1/model.pkl"), "weights");
    std::fs::create_dir(dir.path().join("artifacts/2")).unwrap();
    let strategy = strategy(&format!(
        r#"
        [sources.runs]
        sqlite = ["{}"]
        [sources.artifacts]
        paths = ["{}"]
        [sources.mlflow]
        group = {{ members = ["runs", "artifacts"], preset = "mlflow" }}
        "#,
        at("mlflow.db"),
        at("artifacts")
    ));
    let repo = repository();
    let report = capture(&repo, &strategy, "mlflow").unwrap();
    assert_eq!(report.troubles.len(), 1, "{:?}", report.troubles);
    assert_eq!(report.troubles[0].what, "artifacts of version 2 of model ranker are missing");
    write(&dir.path().join("artifacts/2/model.pkl"), "weights");
    assert!(capture(&repo, &strategy, "mlflow").unwrap().troubles.is_empty());
    let methods: Vec<_> = latest(&repo).captures.iter().map(|c| c.method.clone()).collect();
    assert_eq!(methods, ["group", "files", "sqlite"]);
}
