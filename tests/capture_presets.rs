//! The presets on the real thing, captured under write load: MLflow, Lance and Feast from PyPI. What
//! comes back passes the store's own reading of all of it; the copy that everybody makes does not.
//!
//! The other half: captures that are killed. Nothing of them stays at a server, on disk, or stopped.

mod capture_world;
mod common;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use capture_world::presets::{Store, python};
use capture_world::{Ends, capture, eventually, fact, latest, postgres, redis, restore, strategy};
use common::Sandbox;
use common::library::repository;
use common::torture::random_bytes;
use rustix::process::{Pid, Signal, kill_process};

/// As everybody does, who does not mind when files go meanwhile.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(to.exists() || !from.exists(), "cp {from:?} {to:?}");
}

/// A folder for a store that other users may enter.
fn world() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    postgres::folder(dir.path());
    let live = dir.path().join("live");
    std::fs::create_dir(&live).unwrap();
    (dir, live)
}

/// Captures a store twice while it is written to, and copies it as `naive` says, the later part some
/// writes after the earlier one. Then puts each in the place where it was, since databases and
/// registries name files by their whole paths, and checks it.
fn proven(store: &Store, (dir, live): (&Path, &Path), naive: [&str; 2], group: &str) {
    let (repo, strategy) = (repository(), strategy(group));
    let load = store.load(live);
    // What one write adds.
    let one = if store.kind == "lance" { 10 } else { 1 };
    eventually("it begins", || load.count() > 2);
    for _ in 0..2 {
        load.grow(2 * one);
        let before = load.count();
        let report = capture(&repo, &strategy, "all").unwrap();
        assert!(report.troubles.is_empty(), "{:?}", report.troubles);
        restore(&repo, live, &dir.join(format!("back{before}")));
    }
    let last = load.count();
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut backs: Vec<_> = names.filter(|path| path.to_str().unwrap().contains("/back")).collect();
    backs.sort_by_key(|path| (path.to_str().unwrap().len(), path.clone()));
    for name in naive {
        copy(&live.join(name), &dir.join("naive").join(name));
        load.grow(4 * one);
    }
    load.stop();
    std::fs::rename(live, dir.join("gone")).unwrap();
    let check = |place: &Path| {
        std::fs::rename(place, live).unwrap();
        let checked = store.check(live);
        std::fs::rename(live, place).unwrap();
        checked
    };
    let found = check(backs.last().unwrap()).unwrap();
    // One more may have been in it before it was said.
    assert!(found > 2 && found <= last + one, "{found} of {last}");
    let copied = check(&dir.join("naive"));
    assert!(copied.is_err(), "the naive copy is whole: {copied:?}");
    let captures = latest(&repo).captures;
    assert_eq!(captures[0].method, "group");
    if store.kind == "lance" {
        let rows = fact(&captures[0], &format!("rows.{}/items.lance", live.display()));
        assert_eq!(rows, found.to_string());
    }
    assert!(icecore::report::captures::skew(&captures).is_some(), "{captures:?}");
}

#[test]
fn mlflow_comes_back_with_the_artifacts_of_all_its_models() {
    let Some(python) = python() else { return };
    let (dir, live) = world();
    let at = live.display();
    let group = format!(
        "[sources.runs]\nsqlite = [\"{at}/mlflow.db\"]\n[sources.files]\npaths = [\"{at}/artifacts\"]\n\
         [sources.all]\ngroup = {{ members = [\"runs\", \"files\"], preset = \"mlflow\" }}"
    );
    let store = Store { python, kind: "mlflow", uri: None };
    proven(&store, (dir.path(), &live), ["artifacts", "mlflow.db"], &group);
}

#[test]
fn mlflow_in_postgresql_comes_back_with_the_artifacts_of_all_its_models() {
    let Some(python) = python() else { return };
    let (dir, live) = world();
    let server = postgres::Server::new(&dir.path().join("server"));
    server.sql("CREATE ROLE root SUPERUSER LOGIN");
    server.sql("CREATE DATABASE mlflow");
    let uri = |sockets: &Path| {
        Some(format!("postgresql+psycopg2://root@/mlflow?host={}", sockets.display()))
    };
    let store = Store { python, kind: "mlflow", uri: uri(&server.sockets) };
    let group = format!(
        "[sources.runs]\npostgres = {{ connection = \"{} dbname=mlflow\" }}\n\
         [sources.files]\npaths = [\"{}/artifacts\"]\n\
         [sources.all]\ngroup = {{ members = [\"runs\", \"files\"], preset = \"mlflow\" }}",
        server.connection(),
        live.display()
    );
    let (repo, load) = (repository(), store.load(&live));
    eventually("it begins", || load.count() > 5);
    let before = load.count();
    let report = capture(&repo, &strategy(&group), "all").unwrap();
    assert!(report.troubles.is_empty(), "newer models are no trouble: {:?}", report.troubles);
    let last = load.count();
    load.stop();
    std::fs::rename(&live, dir.path().join("gone")).unwrap();
    restore(&repo, &live, &live);
    let back = dir.path().join("back");
    restore(&repo, &server.data, &back);
    let restored = postgres::Server::start(back, &dir.path().join("sockets"));
    let found = Store { uri: uri(&restored.sockets), ..store }.check(&live).unwrap();
    assert!(found >= before && found <= last + 1, "{before} {found} {last}");
}

#[test]
fn lance_comes_back_with_all_that_its_versions_name() {
    let Some(python) = python() else { return };
    let (dir, live) = world();
    let group = format!(
        "[sources.table]\npaths = [\"{}\"]\n[sources.other]\npaths = [\"{}\"]\n\
         [sources.all]\ngroup = {{ members = [\"table\", \"other\"], preset = \"lance\" }}",
        live.display(),
        dir.path().join("server").display(),
    );
    std::fs::create_dir(dir.path().join("server")).unwrap();
    let store = Store { python, kind: "lance", uri: None };
    proven(&store, (dir.path(), &live), ["items.lance/data", "items.lance/_versions"], &group);
}

#[test]
fn feast_comes_back_with_the_files_of_all_its_views() {
    let Some(python) = python() else { return };
    let (dir, live) = world();
    let at = live.display();
    let group = format!(
        "[sources.registry]\npaths = [\"{at}/registry/registry.db\"]\n\
         [sources.data]\npaths = [\"{at}/data\"]\n\
         [sources.all]\ngroup = {{ members = [\"registry\", \"data\"], preset = \"feast\" }}"
    );
    let store = Store { python, kind: "feast", uri: None };
    proven(&store, (dir.path(), &live), ["data", "registry"], &group);
}

/// A strategy that is run by the program, so slowly that it can be killed in the middle.
struct Slow(Sandbox);

impl Slow {
    fn new(sources: &str) -> Self {
        let sandbox = Sandbox::plain();
        sandbox.icecore().args(["init", "-q", "--plain", "repository"]).assert().success();
        let url = sandbox.path().join("repository");
        let text = format!(
            "[repositories.r]\nurl = \"{}\"\nmedia = \"disk\"\n[sources.other]\n\
             command = {{ run = \"echo other\", name = \"other\" }}\n{sources}",
            url.display()
        );
        std::fs::write(sandbox.path().join("s.toml"), text).unwrap();
        Self(sandbox)
    }

    fn command(&self, limit: &[&str], source: &str) -> Command {
        let mut command = self.0.icecore_std();
        for (name, folder) in [("STATE_DIRECTORY", "state"), ("ICECORE_RUNTIME_DIR", "notes")] {
            command.env(name, self.0.path().join(folder));
        }
        command.env("ICECORE_STRATEGY", self.0.path().join("s.toml")).stdin(Stdio::null());
        command.args(limit).args(["run", "--source", source]);
        command
    }

    /// Starts a capture, and returns when it is so. It goes on for hours where what it takes is more
    /// than packs in memory hold, and not stored yet: see [`ballast`]. All that is written before it
    /// begins takes a few seconds at this rate.
    fn start(&self, source: &str, what: &str, is_so: impl Fn() -> bool) -> Ends {
        let mut command = self.command(&["--limit-upload", "1k"], source);
        let said = self.0.path().join("said");
        command.stdout(Stdio::null()).stderr(std::fs::File::create(&said).unwrap());
        let child = RefCell::new(Ends(command.spawn().unwrap()));
        eventually(what, || {
            let ended = child.borrow_mut().0.try_wait().unwrap();
            let said = || std::fs::read_to_string(&said).unwrap();
            assert!(ended.is_none(), "{what}, but the run has ended: {ended:?}: {}", said());
            is_so()
        });
        child.into_inner()
    }

    /// A run of something else.
    fn next(&self) {
        let done = self.command(&[], "other").output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    fn notes(&self) -> usize {
        std::fs::read_dir(self.0.path().join("notes/captures")).map_or(0, Iterator::count)
    }
}

/// A file of noise, other noise for each seed. Packs hold 160 MiB in memory until they are stored, and
/// queues some more.
fn ballast(path: &Path, seed: u64) {
    std::fs::write(path, random_bytes(seed, BALLAST)).unwrap();
}

const BALLAST: usize = 256 << 20;

/// What a user or a service manager does; none of it asks first.
fn stop(mut child: Ends, signals: &[Signal]) {
    for signal in signals {
        kill_process(Pid::from_child(&child.0), *signal).unwrap();
    }
    let _ = child.0.wait().unwrap();
}

const WAYS: [&[Signal]; 4] =
    [&[Signal::KILL], &[Signal::TERM], &[Signal::INT], &[Signal::TERM, Signal::INT]];

#[test]
fn a_redis_server_rewrites_its_log_again_however_its_capture_ended() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("live");
    std::fs::create_dir(&data).unwrap();
    let server = redis::Server::start(&data, true);
    server.ask::<String>(&["CONFIG", "SET", "auto-aof-rewrite-percentage", "77"]);
    let setting = || {
        let pair: Vec<String> = server.ask(&["CONFIG", "GET", "auto-aof-rewrite-percentage"]);
        pair[1].clone()
    };
    let text = format!("[sources.cache]\nredis = {{ address = \"{}\" }}", server.socket.display());
    let slow = Slow::new(&text);
    // As if the server's log were that long.
    let log = data.join("appendonlydir/ballast");
    for (seed, signals) in (0..).zip(WAYS) {
        ballast(&log, seed);
        let child = slow.start("cache", "the capture begins", || setting() == "0");
        stop(child, signals);
        let is_killed = signals == [Signal::KILL];
        assert_eq!(setting(), if is_killed { "0" } else { "77" }, "{signals:?}");
        assert_eq!(slow.notes(), usize::from(is_killed), "{signals:?}");
        slow.next();
        assert_eq!((setting().as_str(), slow.notes()), ("77", 0), "{signals:?}");
    }
    // What somebody else set meanwhile stays; and the next capture of it finds the setting itself.
    ballast(&log, 9);
    let child = slow.start("cache", "the capture begins", || setting() == "0");
    stop(child, &[Signal::KILL]);
    server.ask::<String>(&["CONFIG", "SET", "auto-aof-rewrite-percentage", "55"]);
    assert!(slow.command(&[], "cache").status().unwrap().success());
    assert_eq!((setting().as_str(), slow.notes()), ("55", 0));
}

#[test]
fn a_postgresql_server_keeps_nothing_of_a_capture_however_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    postgres::folder(dir.path());
    let server = postgres::Server::new(&dir.path().join("live"));
    server.sql("CREATE TABLE t AS SELECT generate_series(1, 50000) AS n");
    // In the server's folder, and in a table, so that both ways to capture it take long.
    server.sql("CREATE UNLOGGED TABLE b (n bytea)");
    let (file, mut seed) = (server.data.join("ballast"), 0);
    let insert = format!(
        "INSERT INTO b SELECT pg_read_binary_file('{}', n * {1}, {1}) FROM generate_series(0, 15) AS n",
        file.display(),
        BALLAST / 16
    );
    let text = |method| {
        let connection = server.connection();
        format!(
            "[sources.db]\npostgres = {{ connection = \"{connection}\", method = \"{method}\" }}"
        )
    };
    let sessions =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name IN ('icecore', 'pg_dump')";
    let slots = "SELECT count(*) FROM pg_replication_slots";
    for (method, shows) in [("physical", slots), ("logical", sessions)] {
        let slow = Slow::new(&text(method));
        for signals in WAYS {
            seed += 1;
            ballast(&file, seed);
            server.sql("TRUNCATE b");
            server.sql(&insert);
            let child = slow.start("db", "the capture begins", || server.sql(shows) != "0");
            stop(child, signals);
            eventually("the server is as before", || {
                server.sql(slots) == "0" && server.sql(sessions) == "0"
            });
        }
        assert!(slow.command(&[], "db").status().unwrap().success(), "{method}");
    }
    // A dump that waits for a lock writes nothing, so that no closed pipe ends it.
    let lock = server.hold("BEGIN; LOCK TABLE t");
    let slow = Slow::new(&text("logical"));
    let waits = "SELECT count(*) FROM pg_stat_activity
        WHERE application_name = 'pg_dump' AND wait_event_type = 'Lock'";
    let child = slow.start("db", "the dump waits", || server.sql(waits) == "1");
    assert_eq!(dumps_by(&server.sockets), 1);
    stop(child, &[Signal::KILL]);
    eventually("the dump is gone", || dumps_by(&server.sockets) == 0);
    eventually("the server has noticed", || server.sql(sessions) == "0");
    drop(lock);
}

/// Programs of this machine that dump by this server's socket.
fn dumps_by(sockets: &Path) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let lines = processes.filter_map(|path| std::fs::read(path.join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).into_owned());
    let socket = sockets.to_str().unwrap();
    lines.filter(|line| line.contains("pg_dump\0") && line.contains(socket)).count()
}

#[test]
fn copies_of_databases_and_stopped_writers_do_not_outlast_the_next_run() {
    let dir = tempfile::tempdir().unwrap();
    let db = rusqlite::Connection::open(dir.path().join("a.db")).unwrap();
    // So large that its copy is seen before it was read.
    db.execute_batch(
        "CREATE TABLE t AS WITH RECURSIVE each(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM each LIMIT 256)
         SELECT randomblob(1000000) AS n FROM each",
    )
    .unwrap();
    let text = format!(
        r#"
        [sources.db]
        sqlite = ["{0}/a.db"]
        hooks = {{ after = "echo after $ICECORE_ERROR >> {0}/said" }}
        [sources.all]
        group = {{ members = ["db"], freeze = "touch {0}/frozen", thaw = "rm {0}/frozen" }}
        "#,
        dir.path().display()
    );
    let slow = Slow::new(&text);
    let copies = || {
        let names = std::fs::read_dir(slow.0.path().join("tmp")).unwrap();
        let names = names.map(|entry| entry.unwrap().path().join("copy"));
        names.filter(|copy| copy.metadata().is_ok_and(|meta| meta.len() > 4_000_000)).count()
    };
    let frozen = dir.path().join("frozen");
    for signals in WAYS {
        db.execute("UPDATE t SET n = randomblob(1000000)", []).unwrap();
        let is_there = || copies() == 1 && frozen.exists();
        let child = slow.start("all", "the copy is there", is_there);
        stop(child, signals);
        let is_killed = signals == [Signal::KILL];
        assert_eq!((frozen.exists(), slow.notes() > 0), (is_killed, is_killed), "{signals:?}");
        slow.next();
        assert_eq!((copies(), frozen.exists(), slow.notes()), (0, false, 0), "{signals:?}");
    }
    let said = std::fs::read_to_string(dir.path().join("said")).unwrap();
    assert_eq!(said.lines().count(), WAYS.len(), "{said}");
    assert!(said.starts_with("after icecore was killed, or this command failed"), "{said}");
}

#[test]
fn a_dump_waits_for_saves_of_others() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("live");
    std::fs::create_dir(&data).unwrap();
    let server = redis::Server::start(&data, false);
    let mut set = ::redis::cmd("SET");
    set.arg("big").arg(random_bytes(1, 4 << 20)).exec(&mut server.client()).unwrap();
    // A save takes a while, and does not hold what comes now.
    server.ask::<String>(&["CONFIG", "SET", "rdb-key-save-delay", "300000"]);
    let text = format!("[sources.cache]\nredis = {{ address = \"{}\" }}", server.socket.display());
    let repo = repository();
    for round in 0..3 {
        server.ask::<String>(&["BGSAVE"]);
        server.ask::<String>(&["SET", "key", &format!("value {round}")]);
        capture(&repo, &strategy(&text), "cache").unwrap();
        let back = dir.path().join(format!("back{round}"));
        restore(&repo, &data, &back);
        let restored = redis::Server::start(&back, false);
        assert_eq!(restored.ask::<String>(&["GET", "key"]), format!("value {round}"));
    }
    // The log is being rewritten, so that a save can only be scheduled.
    server.ask::<String>(&["CONFIG", "SET", "appendonly", "yes"]);
    server.ask::<String>(&["CONFIG", "SET", "appendonly", "no"]);
    server.ask::<String>(&["BGREWRITEAOF"]);
    server.ask::<String>(&["SET", "key", "after a rewrite"]);
    capture(&repo, &strategy(&text), "cache").unwrap();
    let back = dir.path().join("back");
    restore(&repo, &data, &back);
    let restored = redis::Server::start(&back, false);
    assert_eq!(restored.ask::<String>(&["GET", "key"]), "after a rewrite");
    assert_eq!(fact(&latest(&repo).captures[0], "dbsize"), "2");
}
