//! Drills of a small stack that really runs: a service in Python over a model, a configuration and
//! a SQLite database. Guards against a drill that proves what is broken, harms what runs, or leaves
//! something behind.
//!
//! They need root, /dev/fuse and Debian's python3.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Sandbox, require_fuse, require_root};
use rustix::process::Signal;
use serde_json::Value;

const SERVER: &str = r#"
import http.server, json, os, sqlite3, sys
base, port = sys.argv[1], int(sys.argv[2])
config = json.load(open(base + '/config.json'))
weights = open(base + '/model.bin', 'rb').read()
class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200); self.end_headers(); self.wfile.write(body)
    def do_GET(self): self.answer({'who': config['who']})
    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        base_db = sqlite3.connect(base + '/features.db')
        value = base_db.execute('select v from f where k = ?', (request['k'],)).fetchone()[0]
        base_db.execute("insert into f values ('asked', 0)"); base_db.commit()
        self.answer({'score': value * weights[0] * config['scale']})
    def log_message(self, *args): pass
http.server.HTTPServer(('127.0.0.1', port), Handler).serve_forever()
"#;

/// A repository and a stack that it has a snapshot of, unless the test makes it later.
struct Stack {
    sandbox: Sandbox,
    port: u16,
}

impl Stack {
    fn new() -> Self {
        require_root();
        require_fuse();
        let sandbox = Sandbox::plain();
        let app = sandbox.folder("app");
        fs::write(app.join("server.py"), SERVER).unwrap();
        fs::write(app.join("config.json"), r#"{"who": "kept", "scale": 0.5}"#).unwrap();
        let weights: Vec<u8> =
            (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8 | 1).collect();
        fs::write(app.join("model.bin"), &weights).unwrap();
        let score = f64::from(weights[0]);
        let golden =
            format!("{{\"request\": {{\"k\": \"a\"}}, \"answer\": {{\"score\": {score}}}}}\n");
        fs::write(app.join("golden.jsonl"), golden).unwrap();
        let database = rusqlite(&app.join("features.db"));
        assert!(database, "python3 makes a database");
        sandbox.icecore().args(["init", "--plain", "repo"]).assert().success();
        // A port that is free now; in drills it is theirs in any case.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { sandbox, port }
    }

    fn app(&self) -> PathBuf {
        self.sandbox.path().join("app")
    }

    fn ingest(&self) {
        let mut command = self.sandbox.icecore();
        command.args(["-q", "-r", "repo", "ingest"]).arg(self.app()).assert().success();
    }

    /// The strategy, with what a test adds to the drill before its tables. The machine's caches are
    /// left alone: other tests go on meanwhile.
    fn strategy(&self, own: &str, tables: &str) {
        let text = format!(
            "[repositories.local]\nurl = \"{repo}\"\nmedia = \"disk\"\n\
             [sources.app]\npaths = [\"{app}\"]\n\
             [drills.serving]\ncold = false\n{own}\ncomponents.app = {{ source = \"app\" }}\n{tables}",
            repo = self.sandbox.path().join("repo").display(),
            app = self.app().display(),
        );
        fs::write(self.sandbox.path().join("icecore.toml"), text).unwrap();
    }

    /// The whole stack: the service and checks of every kind.
    fn tables(&self) -> String {
        let (app, port) = (self.app().display().to_string(), self.port);
        format!(
            r#"
[drills.serving.services.api]
run = ["/usr/bin/python3", "{app}/server.py", "{app}", "{port}"]
user = "root"
ready = {{ http = "http://127.0.0.1:{port}/", within = "20s" }}
[[drills.serving.checks]]
manifest = "app"
[[drills.serving.checks]]
http = "http://127.0.0.1:{port}/"
json = {{ "/who" = "kept" }}
[[drills.serving.checks]]
golden = {{ file = "{app}/golden.jsonl", url = "http://127.0.0.1:{port}/p", tolerance = 1e-9 }}
[[drills.serving.checks]]
sql = {{ sqlite = "{app}/features.db", query = "select count(*) from f where k = 'a'", min = 1 }}
[[drills.serving.checks]]
structure = "{app}/*.json"
[[drills.serving.checks]]
command = "test -s {app}/model.bin"
"#
        )
    }

    fn command(&self) -> Command {
        let mut command = self.sandbox.icecore_std();
        command.args(["drill", "serving", "--file", "icecore.toml"]);
        command
    }

    /// Runs the drill: exit code, report and what was said.
    fn drill(&self) -> (i32, Value, String) {
        let output = self.command().arg("--json").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        self.assert_nothing_left();
        (output.status.code().unwrap_or(-1), report, said)
    }

    /// No process, mount or file of a drill of this sandbox is left.
    fn assert_nothing_left(&self) {
        let name = self.sandbox.path().display().to_string();
        let start = Instant::now();
        loop {
            let left = processes_of(&name);
            if left.is_empty() {
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(10), "processes are left: {left:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let own = |line: &&str| line.contains(&name) || line.contains("icecore-drill");
        assert_eq!(mounts.lines().filter(own).collect::<Vec<_>>(), Vec::<&str>::new());
    }
}

/// Command lines of the machine's processes that hold a word, and those of drills whose order does.
fn processes_of(word: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let place = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        let is_drill = line.contains("drill-inside") && place.to_string_lossy().contains(word);
        if is_drill
            || (line.contains(word) && line.contains("server.py"))
            || line.contains(&format!("{word}/sleeper"))
        {
            found.push(line);
        }
    }
    found
}

/// Makes the database of features, with Python, as the service reads it.
fn rusqlite(path: &Path) -> bool {
    let code = "import sqlite3, sys; d = sqlite3.connect(sys.argv[1]); \
                d.execute('create table f (k, v)'); d.execute(\"insert into f values ('a', 2)\"); d.commit()";
    Command::new("/usr/bin/python3").args(["-c", code]).arg(path).status().unwrap().success()
}

/// The stack as it runs outside of drills.
struct Live(Child);

impl Live {
    fn start(stack: &Stack) -> Self {
        let mut command = Command::new("/usr/bin/python3");
        command.arg(stack.app().join("server.py")).arg(stack.app()).arg(stack.port.to_string());
        let live = Self(command.spawn().unwrap());
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", stack.port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(30));
            std::thread::sleep(Duration::from_millis(20));
        }
        live
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn names(report: &Value, list: &str, key: &str) -> Vec<String> {
    let all = report[list].as_array().cloned().unwrap_or_default();
    all.iter().map(|each| each[key].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_stack_is_proven_in_both_modes_while_the_live_one_goes_on() {
    let stack = Stack::new();
    stack.ingest();
    // What runs is newer than what was kept.
    fs::write(stack.app().join("config.json"), r#"{"who": "live", "scale": 9}"#).unwrap();
    let before = fs::read(stack.app().join("features.db")).unwrap();
    let live = Live::start(&stack);
    let scratch = stack.sandbox.folder("scratch");
    for mode in ["instant", "copy"] {
        let own = format!(
            "mode = \"{mode}\"\nscratch = \"{}\"\ntargets = {{ rto = \"5min\", rpo = \"1h\" }}",
            scratch.display()
        );
        stack.strategy(&own, &stack.tables());
        let output = stack.command().arg("--json").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let report: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
        assert_eq!(report["result"], "proven", "{report:#}\n{said}");
        assert!(output.status.success());
        let kinds = names(&report, "control", "kind");
        for kind in ["manifest", "http", "golden", "sql", "structure", "command"] {
            assert!(kinds.iter().any(|other| other == kind), "{kind} is not in {kinds:?}");
        }
        let phases = names(&report, "phases", "name");
        assert!(
            phases.contains(&"ready: api".to_owned()) && phases.contains(&"first byte".to_owned())
        );
        assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0);
        assert!(get(stack.port).contains("\"live\""));
        assert_eq!(fs::read(stack.app().join("features.db")).unwrap(), before);
    }
    drop(live);
    stack.assert_nothing_left();
    let ledger = stack.sandbox.icecore().args(["-r", "repo", "ledger", "--json"]).output().unwrap();
    let lines = String::from_utf8(ledger.stdout).unwrap();
    let records: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 2);
    assert!(
        records.iter().all(|record| record["event"] == "drilled" && record["result"] == "proven")
    );
    assert_eq!(records[1]["follows"][0], records[0]["record"]);
}

#[test]
fn an_older_snapshot_is_not_proven_where_the_newest_cannot_be_read() {
    let stack = Stack::new();
    stack.ingest();
    stack.strategy("", "[[drills.serving.checks]]\nmanifest = \"app\"\n");
    let folder = stack.sandbox.path().join("repo/snapshots");
    let names = || -> Vec<_> {
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    };
    let first = names();
    stack.ingest();
    let newest = names().into_iter().find(|name| !first.contains(name)).unwrap();
    assert_eq!(stack.drill().1["result"], "proven");
    fs::write(folder.join(&newest), "no snapshot").unwrap();
    let (code, report, said) = stack.drill();
    assert_eq!((code, &report), (4, &Value::Null), "{said}");
    assert!(said.contains(newest.to_str().unwrap()) && said.contains("newest of app"), "{said}");
    let first = first[0].to_str().unwrap();
    let output = stack.command().args(["--json", "--snapshot", first]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What breaks the stack, and what the drill must say.
struct Breach {
    what: &'static str,
    /// Before it is ingested.
    at_source: fn(&Path),
    /// In the strategy: a text and what stands in its place.
    replace: (&'static str, &'static str),
    own: &'static str,
    exit: i32,
    told: &'static str,
}

const SOUND: Breach =
    Breach { what: "nothing", at_source: |_| {}, replace: ("", ""), own: "", exit: 1, told: "" };

#[test]
fn each_way_of_breaking_it_is_red_and_named() {
    let breaches = [
        Breach {
            what: "a model that is missing",
            at_source: |app| fs::remove_file(app.join("model.bin")).unwrap(),
            told: "service api died before it was ready: exit status: 1; its output ends: ",
            ..SOUND
        },
        Breach {
            what: "a configuration that was changed",
            at_source: |app| {
                fs::write(app.join("config.json"), r#"{"who":"kept","scale":0.6}"#).unwrap()
            },
            told: "/score is ",
            ..SOUND
        },
        Breach {
            what: "a structure that is broken",
            at_source: |app| fs::write(app.join("extra.json"), "{").unwrap(),
            told: "extra.json: EOF",
            ..SOUND
        },
        Breach {
            what: "a stale snapshot",
            own: "targets = { rpo = \"1ms\" }",
            exit: 4,
            told: "old, the RPO is",
            ..SOUND
        },
        Breach {
            what: "a target of time that is missed",
            own: "targets = { rto = \"1ms\" }",
            exit: 4,
            told: "the RTO is",
            ..SOUND
        },
        Breach {
            what: "a service that is never ready",
            replace: ("/\", within = \"20s\"", "/\", within = \"1s\""),
            at_source: |app| {
                fs::write(app.join("server.py"), "import time; time.sleep(600)").unwrap()
            },
            told: "service api is not ready within 1 s",
            ..SOUND
        },
        Breach {
            what: "a service that dies",
            at_source: |app| {
                fs::write(app.join("server.py"), "raise SystemExit('broken as it is')").unwrap()
            },
            told: "its output ends: broken as it is",
            ..SOUND
        },
        Breach {
            what: "a drill that takes too long",
            own: "timeout = \"2s\"",
            at_source: |app| {
                fs::write(app.join("server.py"), "import time; time.sleep(600)").unwrap()
            },
            told: "it was not over within 2 s",
            ..SOUND
        },
        Breach {
            what: "a check that always passes",
            replace: ("test -s ", "true "),
            told: "also passes on damaged data",
            ..SOUND
        },
        Breach {
            what: "a query that reads no table",
            replace: ("select count(*) from f where k = 'a'", "select 20000"),
            told: "sql \"select 20000\" tells nothing of the data: it is 20000, and no table was read",
            ..SOUND
        },
        Breach {
            what: "a tolerance that takes any number",
            replace: ("tolerance = 1e-9", "tolerance = 1e9"),
            told: "it takes 1 other answers for the known ones; lower its tolerance",
            ..SOUND
        },
        Breach {
            what: "a server that answers any path",
            replace: ("json = { \"/who\" = \"kept\" }\n", ""),
            told: "which is no path of it, gives status 200 too; add body or json",
            ..SOUND
        },
        Breach {
            what: "a structure of files that nobody restored",
            replace: ("structure = \"", "structure = \"/usr/share/zoneinfo/tzdata.zi\" #"),
            told: "neither its name",
            ..SOUND
        },
        Breach {
            what: "a database without what is asked for",
            replace: ("where k = 'a'\", min = 1", "where k = 'b'\", min = 1"),
            told: "it is 0, at least 1 is expected",
            ..SOUND
        },
    ];
    for breach in breaches {
        let stack = Stack::new();
        (breach.at_source)(&stack.app());
        stack.ingest();
        stack.strategy(breach.own, &stack.tables().replace(breach.replace.0, breach.replace.1));
        let (exit, report, said) = stack.drill();
        let cause = report["cause"].as_str().unwrap_or_default();
        assert!(cause.contains(breach.told), "{}: {cause}\n{said}", breach.what);
        assert_ne!(report["result"], "proven", "{}", breach.what);
        assert_eq!(exit, breach.exit, "{}: {cause}", breach.what);
        assert!(said.contains("icecore: drill serving: "), "{}: {said}", breach.what);
    }
}

#[test]
fn each_component_must_be_seen_to_matter() {
    let stack = Stack::new();
    stack.ingest();
    let app = stack.app().display().to_string();
    let other = "/opt/icecore-other/config.json";
    // It lies in the other one, so that one is emptied around it.
    let inner = format!("{app}/inner/config.json");
    let drill = |at: &str, more: &str| {
        let tables = format!(
            "components.other = {{ source = \"app\", path = \"{app}/config.json\", at = \"{at}\" }}\n{more}"
        );
        stack.strategy("", &tables);
        let (exit, report, said) = stack.drill();
        (exit, report["cause"].as_str().unwrap_or(&said).to_owned(), report)
    };
    let manifest = "[[drills.serving.checks]]\nmanifest = \"app\"\n";
    let check = |what: &str| format!("{manifest}[[drills.serving.checks]]\n{what}\n");
    let service = |run: &str| {
        format!(
            "[drills.serving.services.s]\nrun = \"{run} && echo up > /tmp/up && exec sleep 600\"\n\
             ready = {{ command = \"test -e /tmp/up\", within = \"20s\" }}\n{manifest}"
        )
    };
    for at in [other, inner.as_str()] {
        let unseen =
            "component other: no check fails when it alone is damaged; add manifest = \"other\"";
        let (exit, cause, _) = drill(at, &check(&format!("structure = \"{app}/config.json\"")));
        assert_eq!((exit, cause.as_str()), (1, unseen));
        let (_, cause, _) = drill(at, &check(&format!("command = \"test -s {app}/model.bin\"")));
        assert_eq!(cause, unseen);
        for seen in [
            check("manifest = \"other\""),
            check(&format!("structure = \"{at}\"")),
            check(&format!("command = \"grep kept {at}\"")),
            service(&format!("grep kept {at}")),
        ] {
            let (exit, cause, report) = drill(at, &seen);
            assert_eq!((exit, cause.as_str()), (0, ""), "{seen}");
            let control = report["control"].as_array().unwrap();
            let of =
                |kind: &str| control.iter().any(|it| it["kind"] == kind && it["name"] == "other");
            assert!(of("manifest") || of("component"), "{control:?}");
        }
    }
    // A service that starts only once shows nothing by not starting.
    let once = format!("test ! -e {app}/once && touch {app}/once");
    let (_, cause, _) = drill(other, &service(&once));
    assert!(cause.contains("component other: what shows its loss"), "{cause}");
    assert!(cause.contains("with nothing damaged: service s died"), "{cause}");
    // What runs as well where nothing was restored says nothing of what was.
    let idle =
        format!("{}[[drills.serving.checks]]\ncommand = \"test -e /tmp/up\"\n", service("true"));
    let (_, cause, _) = drill(other, &idle);
    assert!(cause.contains("also passes on damaged data"), "{cause}");
}

#[test]
fn bits_that_flip_in_the_repository_are_named_by_component_and_file() {
    let stack = Stack::new();
    stack.ingest();
    let manifest = "[[drills.serving.checks]]\nmanifest = \"app\"\n";
    stack.strategy("", manifest);
    let (exit, report, said) = stack.drill();
    assert_eq!((exit, report["result"].as_str()), (0, Some("proven")), "{report:#}{said}");
    let mut packs = Vec::new();
    let mut folders = vec![stack.sandbox.path().join("repo/data")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path())
            } else {
                packs.push(entry.path())
            }
        }
    }
    let pack = packs.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(pack, bytes).unwrap();
    let (exit, report, said) = stack.drill();
    let cause = report["cause"].as_str().unwrap();
    assert_eq!(exit, 4, "{cause}\n{said}");
    assert!(cause.starts_with("manifest \"app\": ") && cause.contains("model.bin"), "{cause}");
}

#[test]
fn places_that_this_machine_lacks_and_single_files_are_there_and_the_rest_cannot_be_written() {
    let stack = Stack::new();
    stack.ingest();
    let app = stack.app().display().to_string();
    fs::write(stack.app().join("features.db-wal"), "of the live one").unwrap();
    let writable = stack.sandbox.folder("log");
    let tables = format!(
        r#"
components.far = {{ source = "app", path = "{app}", at = "/icecore-not-here/deep/app" }}
components.inner = {{ source = "app", path = "{app}/config.json", at = "{app}/inner/config.json" }}
components.database = {{ source = "app", path = "{app}/features.db", at = "/opt/icecore-not-here/features.db" }}
[[drills.serving.checks]]
command = """
set -e
test -s {app}/model.bin
test -s /icecore-not-here/deep/app/model.bin
echo more >> /icecore-not-here/deep/app/model.bin
test -s {app}/inner/config.json
test ! -e {app}/features.db-wal
test -s /opt/icecore-not-here/features.db
echo more >> /opt/icecore-not-here/features.db
if touch {app}/../outside; then exit 1; fi
if touch /etc/icecore-outside; then exit 1; fi
touch {log}/inside /tmp/inside /run/inside
test ! -e /run/icecore
test $(ls /proc | grep -c '^[0-9]') -lt 20
"""
"#,
        log = writable.display(),
    );
    stack.strategy(&format!("writable = [\"{}\"]", writable.display()), &tables);
    let (exit, report, said) = stack.drill();
    assert_eq!((exit, report["result"].as_str()), (0, Some("proven")), "{report:#}{said}");
    for path in ["/icecore-not-here", "/opt/icecore-not-here", "/etc/icecore-outside"] {
        assert!(!Path::new(path).exists(), "{path}");
    }
    assert_eq!(fs::read_dir(&writable).unwrap().count(), 0);
    assert!(!stack.app().join("inner").exists() && stack.app().join("features.db-wal").exists());
}

/// Starts a drill whose service never gets ready, and waits until it runs.
fn endless(stack: &Stack, scratch: &Path, mode: &str) -> Child {
    let tables = format!(
        "[drills.serving.services.s]\nrun = [\"/usr/bin/python3\", \"-c\", \"import time; time.sleep(600)\", \"{}/sleeper\"]\n\
         ready = {{ tcp = \"127.0.0.1:1\", within = \"10min\" }}\n",
        stack.sandbox.path().display(),
    );
    stack.strategy(&format!("mode = \"{mode}\"\nscratch = \"{}\"", scratch.display()), &tables);
    let child = stack.command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let name = stack.sandbox.path().display().to_string();
    until("the service does not start", || {
        processes_of(&name).iter().any(|line| line.contains("/sleeper"))
    });
    assert_eq!(fs::read_dir(scratch).unwrap().count(), 1);
    assert_eq!(notes(&child).len(), 2);
    child
}

/// Waits for what must come to be within a minute.
fn until(missing: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "{missing}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What a drill has in the folder of drills.
fn notes(child: &Child) -> Vec<PathBuf> {
    let own = format!("{}-", child.id());
    let all = fs::read_dir("/run/icecore/drills").into_iter().flatten().flatten();
    all.filter(|entry| entry.file_name().to_string_lossy().starts_with(&own))
        .map(|entry| entry.path())
        .collect()
}

fn signal(child: &Child, signal: Signal) {
    kill(child.id(), signal);
}

fn kill(pid: u32, signal: Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

#[test]
fn nothing_is_left_of_a_drill_however_it_ends() {
    let stack = Stack::new();
    let scratch = stack.sandbox.folder("scratch");
    fs::write(stack.app().join("sleeper"), "").unwrap();
    stack.ingest();
    for mode in ["copy", "instant"] {
        for by in [Signal::INT, Signal::TERM, Signal::HUP, Signal::KILL] {
            let mut child = endless(&stack, &scratch, mode);
            signal(&child, by);
            let code = child.wait().unwrap().code();
            let left = || fs::read_dir(&scratch).unwrap().count() + notes(&child).len();
            if by == Signal::KILL {
                assert_eq!(code, None);
                until("a folder is left", || left() == 0);
            } else {
                assert_eq!((code, left()), (Some(130), 0), "{mode} by {by:?}");
            }
            stack.assert_nothing_left();
        }
    }
}

/// The process of a drill that clears away, and the guard below it.
fn sweeper(child: &Child) -> (u32, u32) {
    let below = |pid: u32| -> u32 {
        let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        list.split_whitespace().next().unwrap().parse().unwrap()
    };
    let sweeper = below(child.id());
    let line = fs::read_to_string(format!("/proc/{sweeper}/cmdline")).unwrap();
    assert!(line.contains("drill-inside\0sweep"), "{line}");
    (sweeper, below(sweeper))
}

#[test]
fn what_is_left_where_even_the_one_that_clears_away_is_killed_is_removed_by_the_next() {
    let stack = Stack::new();
    let scratch = stack.sandbox.folder("scratch");
    fs::write(stack.app().join("sleeper"), "").unwrap();
    stack.ingest();
    let mut child = endless(&stack, &scratch, "copy");
    let (sweeper, _) = sweeper(&child);
    signal(&child, Signal::STOP);
    kill(sweeper, Signal::KILL);
    signal(&child, Signal::KILL);
    child.wait().unwrap();
    stack.assert_nothing_left();
    assert_eq!(fs::read_dir(&scratch).unwrap().count(), 1, "only the copy's folder is left");
    stack.strategy("", "[[drills.serving.checks]]\nmanifest = \"app\"\n");
    let (exit, report, said) = stack.drill();
    assert_eq!(exit, 0, "{report:#}{said}");
    assert_eq!(fs::read_dir(&scratch).unwrap().count() + notes(&child).len(), 0);
}

#[test]
fn a_drill_whose_processes_are_killed_fails_and_leaves_nothing() {
    let stack = Stack::new();
    let scratch = stack.sandbox.folder("scratch");
    fs::write(stack.app().join("sleeper"), "").unwrap();
    stack.ingest();
    for is_guard in [true, false] {
        let mut child = endless(&stack, &scratch, "instant");
        let (sweeper, guard) = sweeper(&child);
        kill(if is_guard { guard } else { sweeper }, Signal::KILL);
        assert_eq!(child.wait().unwrap().code(), Some(1), "of the guard: {is_guard}");
        stack.assert_nothing_left();
        assert_eq!(fs::read_dir(&scratch).unwrap().count() + notes(&child).len(), 0);
    }
}

#[test]
fn who_started_a_drill_by_nohup_may_close_the_terminal() {
    let stack = Stack::new();
    let scratch = stack.sandbox.folder("scratch");
    fs::write(stack.app().join("sleeper"), "").unwrap();
    stack.ingest();
    let plain = stack.command();
    stack.strategy("", "[[drills.serving.checks]]\ncommand = \"sleep 3\"\n");
    let mut command = Command::new("nohup");
    command.arg(plain.get_program()).args(plain.get_args()).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(stack.sandbox.path());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("the drill does not start", || notes(&child).len() == 2);
    signal(&child, Signal::HUP);
    // It comes to its end: the check passes, and passes without the component too.
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let ledger = stack.sandbox.icecore().args(["-r", "repo", "ledger", "--json"]).output().unwrap();
    assert!(String::from_utf8(ledger.stdout).unwrap().contains("also passes on damaged data"));
    assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0);
}

#[test]
fn of_a_sample_the_time_of_all_of_it_is_extrapolated_and_the_assumption_stated() {
    let stack = Stack::new();
    let many = stack.app().join("many");
    fs::create_dir(&many).unwrap();
    for number in 0..400 {
        fs::write(many.join(number.to_string()), vec![b'x'; 1000 + number]).unwrap();
    }
    stack.ingest();
    let own = "mode = \"copy\"\ntargets = { rto = \"1h\" }";
    let tables = format!(
        "components.many = {{ source = \"app\", path = \"{many}\", at = \"/srv/icecore-many\", sample = \"5%\" }}\n\
         [[drills.serving.checks]]\nname = \"all of it\"\nmanifest = \"many\"\n\
         [[drills.serving.checks]]\n\
         command = \"n=$(ls /srv/icecore-many | wc -l); test $n -ge 20 -a $n -lt 80\"\n",
        many = many.display()
    );
    stack.strategy(own, &tables);
    let (exit, report, said) = stack.drill();
    assert_eq!((exit, report["result"].as_str()), (0, Some("proven")), "{report:#}{said}");
    let checks = report["checks"].as_array().unwrap();
    let sample = checks.iter().find(|check| check["kind"] == "sample").unwrap();
    assert_eq!(sample["name"], "many");
    let told = sample["told"].as_str().unwrap();
    assert!(told.contains("of 400 files") && told.contains("assuming that every file"), "{told}");
    assert!(checks.iter().any(|check| check["kind"] == "manifest" && check["name"] == "all of it"));
    let seconds = |value: &Value| value.as_f64().unwrap();
    let extrapolated = seconds(&report["rto_extrapolated"]);
    assert_eq!(extrapolated, seconds(&sample["duration"]));
    // Of how long each part took is the unit test's (ops/drill/copied.rs); here, that it is scaled.
    let factor = told.split(" times ").next().and_then(|it| it.rsplit('(').next()).unwrap();
    assert!((4.0..40.0).contains(&factor.parse::<f64>().unwrap()), "{told}");
    assert!(extrapolated > 0.0, "{told}");
    assert!(seconds(&report["rto"]) > extrapolated);

    // A target that is missed says what is assumed.
    stack.strategy(&own.replace("1h", "1ms"), &tables);
    let output = stack.command().output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("extrapolated from") && said.contains("assumed"), "{said}");
    let ledger = stack.sandbox.icecore().args(["-r", "repo", "ledger", "--json"]).output().unwrap();
    assert!(String::from_utf8(ledger.stdout).unwrap().contains("assuming that every file"));
    // What has no byte can be damaged all the same, and is its own sample.
    let empty = stack.app().join("empty");
    fs::create_dir(&empty).unwrap();
    stack.ingest();
    let components = format!(
        "components.empty = {{ source = \"app\", path = \"{}\", at = \"/srv/icecore-empty\", sample = \"5%\" }}\n{tables}",
        empty.display()
    );
    stack.strategy(own, &components);
    let (exit, report, said) = stack.drill();
    assert_eq!((exit, report["result"].as_str()), (0, Some("proven")), "{report:#}{said}");
    stack.strategy("", &tables);
    let output = stack.command().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("add mode = \"copy\""), "{said}");
}

#[test]
fn a_service_that_writes_where_it_may_not_is_told_its_path_and_the_remedy_in_one_line() {
    let stack = Stack::new();
    let log = stack.sandbox.folder("log");
    let server = format!("open('{}/a.log', 'a')", log.display());
    fs::write(stack.app().join("server.py"), server).unwrap();
    stack.ingest();
    stack.strategy("", &stack.tables());
    let (exit, report, said) = stack.drill();
    let cause = report["cause"].as_str().unwrap();
    assert_eq!(exit, 1, "{cause}");
    let log = log.display();
    assert_eq!(
        cause,
        format!(
            "service api died before it was ready: exit status: 1; it cannot write to {log}/a.log: \
             only components can be written to in a drill; add writable = [\"{log}\"] to the drill, \
             or restore that folder as a component"
        ),
        "{said}"
    );
}

#[test]
fn services_run_as_the_plan_says_each_after_those_that_it_needs() {
    let stack = Stack::new();
    let first = "import os, socket, time\n\
                 s = socket.socket(socket.AF_UNIX)\n\
                 open('/tmp/first', 'w').write(f'{os.getuid()} {os.getcwd()} ' + os.environ['WORD'])\n\
                 time.sleep(0.3); s.bind('/tmp/s'); s.listen(); time.sleep(600)\n";
    let second = "test -S /tmp/s && echo seen > /tmp/second\n\
                  trap 'touch /tmp/stopped; exit' USR1\n\
                  while sleep 0.05; do :; done\n";
    fs::write(stack.app().join("first.py"), first).unwrap();
    fs::write(stack.app().join("second.sh"), second).unwrap();
    stack.ingest();
    let app = stack.app().display().to_string();
    // As a service that comes first by name must wait for one that comes later.
    let tables = format!(
        r#"
[drills.serving.services.a]
run = "exec sh {app}/second.sh"
after = ["b"]
stop-signal = "SIGUSR1"
ready = {{ command = ["test", "-s", "/tmp/second"], within = "10s" }}
[drills.serving.services.b]
run = ["/usr/bin/python3", "{app}/first.py"]
user = "nobody"
directory = "/usr/share"
environment = {{ WORD = "a word" }}
ready = {{ unix = "/tmp/s", within = "20s" }}
[[drills.serving.checks]]
name = "as the plan says"
command = "test \"$(cat /tmp/first)\" = '65534 /usr/share a word' -a ! -e /tmp/stopped"
"#
    );
    stack.strategy("", &tables);
    // The check fails where services are stopped only since the first one got its signal.
    let (exit, report, said) = stack.drill();
    assert_eq!((exit, report["result"].as_str()), (0, Some("proven")), "{report:#}{said}");
    let phases = names(&report, "phases", "name");
    let ready: Vec<_> = phases.iter().filter(|name| name.starts_with("ready: ")).collect();
    assert_eq!(ready, ["ready: b", "ready: a"]);
}

#[test]
fn another_snapshot_and_a_replica_can_be_drilled() {
    let stack = Stack::new();
    stack.ingest();
    fs::write(stack.app().join("config.json"), r#"{"who": "newer"}"#).unwrap();
    stack.ingest();
    stack.sandbox.icecore().args(["init", "--plain", "far"]).assert().success();
    let copy = ["-q", "-r", "repo", "replicate", "--to", "far"];
    stack.sandbox.icecore().args(copy).assert().success();
    let app = stack.app().display().to_string();
    let drill = |who: &str, options: &[&str]| {
        let check =
            format!("[[drills.serving.checks]]\ncommand = \"grep {who} {app}/config.json\"\n");
        stack.strategy("", &check);
        let file = stack.sandbox.path().join("icecore.toml");
        let far = stack.sandbox.path().join("far").display().to_string();
        let text = fs::read_to_string(&file).unwrap();
        let text = text.replace(
            "[sources.app]\n",
            &format!("[repositories.far]\nurl = \"{far}\"\nmedia = \"disk\"\n[sources.app]\nrepository = \"local\"\n"),
        );
        fs::write(file, text).unwrap();
        let output = stack.command().arg("--json").args(options).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        assert_eq!(report["result"], "proven", "{options:?}: {report:#}{said}");
        report["components"][0]["snapshot"].as_str().unwrap().to_owned()
    };
    let newest = drill("newer", &[]);
    stack.sandbox.icecore().args(["init", "--plain", "empty"]).assert().success();
    let file = stack.sandbox.path().join("icecore.toml");
    let text = fs::read_to_string(&file).unwrap();
    let empty = stack.sandbox.path().join("empty").display().to_string();
    let text = format!("[repositories.empty]\nurl = \"{empty}\"\nmedia = \"disk\"\n{text}");
    fs::write(&file, text).unwrap();
    let output = stack.command().args(["--from", "empty"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let told = "component app: repository empty has no snapshot of source app; it goes to local: drill \
                from there with --from, or add replicas = [\"empty\"] to it";
    assert!(said.contains(told), "{said}");
    let list =
        stack.sandbox.icecore().args(["-r", "repo", "--json", "snapshots"]).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let oldest = list.split('"').find(|word| {
        word.len() == newest.len() && word.bytes().all(|b| b.is_ascii_hexdigit()) && *word != newest
    });
    let oldest = oldest.unwrap_or_else(|| panic!("{list}")).to_owned();
    assert_eq!(drill("kept", &["--snapshot", &oldest]), oldest);
    assert_ne!(drill("newer", &["--from", "far"]), newest);
    for repository in ["repo", "far"] {
        stack
            .sandbox
            .icecore()
            .args(["-q", "-r", repository, "ledger", "verify"])
            .assert()
            .success();
    }
    let ledger = stack.sandbox.icecore().args(["-r", "far", "ledger", "--json"]).output().unwrap();
    assert!(String::from_utf8(ledger.stdout).unwrap().contains("\"drilled\""));
}

/// Drills of a plain user, who has a copy of the program where it can be reached.
struct Plain {
    folder: tempfile::TempDir,
}

impl Plain {
    fn new() -> Self {
        let folder =
            tempfile::Builder::new().prefix("icecore-plain-").tempdir_in("/var/tmp").unwrap();
        let (at, mode) = (folder.path(), fs::Permissions::from_mode(0o755));
        fs::set_permissions(at, mode.clone()).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_icecore"), at.join("icecore")).unwrap();
        for inner in ["app/closed", "home", "scratch"] {
            fs::create_dir_all(at.join(inner)).unwrap();
        }
        fs::write(at.join("app/a.json"), "{}").unwrap();
        fs::write(at.join("app/closed/b"), "inside").unwrap();
        for inner in ["", "app", "app/a.json", "app/closed", "app/closed/b", "home", "scratch"] {
            std::os::unix::fs::chown(at.join(inner), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        // Of a group that the user is not in, in a folder that not even its owner may write to.
        std::os::unix::fs::chown(at.join("app/a.json"), Some(NOBODY), Some(0)).unwrap();
        fs::set_permissions(at.join("app/closed"), fs::Permissions::from_mode(0o555)).unwrap();
        Self { folder }
    }

    fn run(&self, args: &[&str]) -> std::process::Output {
        let mut command = as_nobody(&self.folder.path().join("icecore"));
        command.args(args).env_clear().current_dir(self.folder.path());
        command
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
            .env("HOME", self.folder.path().join("home"));
        command.env("TMPDIR", self.folder.path().join("home")).output().unwrap()
    }
}

const NOBODY: u32 = 65534;

fn as_nobody(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    let user = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")];
    command.args(user).arg("--clear-groups").arg(program);
    command
}

#[test]
fn a_plain_user_drills_in_both_modes_where_the_kernel_allows_and_is_told_where_not() {
    require_root();
    require_fuse();
    let plain = Plain::new();
    let at = plain.folder.path().display().to_string();
    let strategy = |mode: &str| {
        let text = format!(
            "[repositories.local]\nurl = \"{at}/repo\"\nmedia = \"disk\"\n\
             [sources.app]\npaths = [\"{at}/app\"]\n\
             [drills.d]\nmode = \"{mode}\"\nscratch = \"{at}/scratch\"\n\
             components.app = {{ source = \"app\" }}\n\
             services.s = {{ run = \"echo up > {at}/app/up; exec sleep 60\", ready.command = \"grep up {at}/app/up\" }}\n\
             checks = [{{ manifest = \"app\" }}, {{ structure = \"{at}/app/*.json\" }}, \
             {{ command = \"grep inside {at}/app/closed/b\" }}]\n"
        );
        fs::write(plain.folder.path().join("icecore.toml"), text).unwrap();
    };
    assert!(plain.run(&["init", "--plain", "repo"]).status.success());
    assert!(plain.run(&["-q", "-r", "repo", "ingest", &format!("{at}/app")]).status.success());
    // The kernel may refuse namespaces, and the machine what mounts are made with.
    let mut mounting = as_nobody(Path::new("unshare"));
    let mounting = mounting.args(["-Urm", "sh", "-c", "exec 3<>/dev/fuse"]).output().unwrap();
    let allowed = mounting.status.success();
    for mode in ["instant", "copy"] {
        strategy(mode);
        let output = plain.run(&["--json", "drill", "d", "--file", "icecore.toml"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if allowed {
            let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            assert_eq!(report["result"], "proven", "{mode}: {report:#}\n{said}");
        } else {
            assert!(said.contains("run the drill as root"), "{said}");
        }
        assert_eq!(fs::read_dir(plain.folder.path().join("scratch")).unwrap().count(), 0, "{said}");
        assert!(!plain.folder.path().join("app/up").exists(), "it wrote to the live folder");
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&at));
}

#[test]
fn a_world_that_is_kept_ends_with_the_interruption() {
    let stack = Stack::new();
    stack.ingest();
    stack.strategy("", &stack.tables());
    let mut command = stack.command();
    command.arg("--keep").stdout(Stdio::null()).stderr(Stdio::piped());
    // Ends with the test, however that ends.
    let mut child = Live(command.spawn().unwrap());
    let lines = BufReader::new(child.0.stderr.take().unwrap()).lines();
    let line = lines.map_while(Result::ok).find(|line| line.contains("its world stays"));
    let pid = line.unwrap().rsplit(' ').next().unwrap().to_owned();
    let inside = Command::new("nsenter")
        .args(["-a", "-t", &pid, "cat"])
        .arg(stack.app().join("config.json"))
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&inside.stdout).contains("kept"), "{inside:?}");
    signal(&child.0, Signal::INT);
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
    stack.assert_nothing_left();
}

#[test]
fn who_may_not_is_told_what_it_takes() {
    let stack = Stack::new();
    stack.ingest();
    stack.strategy("", "[[drills.serving.checks]]\nmanifest = \"app\"\n");
    let output = stack.command().args(["--from", "nowhere"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no repository nowhere"));
    let mut unknown = stack.sandbox.icecore_std();
    let output = unknown.args(["drill", "serve", "--file", "icecore.toml"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("there is no drill serve") && said.contains("has serving"), "{said}");
}
