//! `icecore run`, `status`, `report` and `schedule` on real repositories: what is due is done, what
//! fails stops nothing else, and what is told comes from evidence.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use common::Sandbox;
use serde_json::Value;

/// Two repositories, and a folder to back up.
struct World {
    sandbox: Sandbox,
}

impl World {
    fn new() -> Self {
        let sandbox = Sandbox::plain();
        for name in ["near", "far"] {
            sandbox.icecore().args(["init", "-q", "--plain", name]).assert().success();
        }
        let folder = sandbox.folder("data");
        fs::write(folder.join("file"), "content").unwrap();
        Self { sandbox }
    }

    fn path(&self) -> &Path {
        self.sandbox.path()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.sandbox.icecore_std();
        command.args(args).env("STATE_DIRECTORY", self.path().join("state"));
        command.env("ICECORE_STRATEGY", self.path().join("s.toml")).stdin(Stdio::null());
        command
    }

    fn icecore(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.icecore(&[&["--json"], args].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|err| {
            panic!("{args:?}: {err}: {}", String::from_utf8_lossy(&output.stderr))
        })
    }

    /// Writes the strategy: the two repositories, and what else it has; `DIR` is the sandbox.
    fn strategy(&self, rest: &str) {
        let text = format!(
            "[repositories.near]\nurl = \"DIR/near\"\nmedia = \"disk\"\n\
             [repositories.far]\nurl = \"DIR/far\"\nmedia = \"tape\"\noffsite = true\nsite = \"x\"\n{rest}"
        );
        let text = text.replace("DIR", self.path().to_str().unwrap());
        fs::write(self.path().join("s.toml"), text).unwrap();
    }

    /// The ledger's records of runs: part, name and error.
    fn ran(&self, repository: &str) -> Vec<(String, String, String)> {
        let output = self.icecore(&["-r", repository, "--json", "ledger"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let runs = lines.filter(|it| it["event"] == "ran");
        runs.map(|it| (word(&it["part"]), word(&it["name"]), word(&it["error"]))).collect()
    }

    fn snapshots(&self, repository: &str) -> Vec<Value> {
        let output = self.icecore(&["-r", repository, "--json", "snapshots"]);
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        value["snapshots"].as_array().unwrap().clone()
    }
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const GOOD: &str =
    "[sources.good]\npaths = [\"DIR/data\"]\nrepository = \"near\"\nevery = \"1h\"\nrpo = \"2h\"\n";
const BAD: &str = "[sources.bad]\ncommand = { run = \"echo half; exit 3\", name = \"x\" }\nrepository = \"near\"\nevery = \"1h\"\n";

#[test]
fn what_is_due_is_done_once_and_a_source_that_fails_stops_no_other() {
    let world = World::new();
    world.strategy(&format!("{BAD}{GOOD}"));
    let plan = world.icecore(&["run", "--dry-run"]);
    assert!(plan.status.success(), "{}", err(&plan));
    assert!(out(&plan).contains("ingest good  it was never done"), "{}", out(&plan));
    assert_eq!(world.snapshots("near").len(), 0, "a dry run changes nothing");

    let first = world.icecore(&["run"]);
    assert_eq!(first.status.code(), Some(1), "{}", err(&first));
    assert!(err(&first).contains("icecore: ingest bad: "), "{}", err(&first));
    assert!(out(&first).contains("ingest good: 7 B in 1 file"), "{}", out(&first));
    assert!(out(&first).contains("2 parts, 1 failed; next is"), "{}", out(&first));
    assert_eq!(world.snapshots("near").len(), 1, "a command that fails makes no snapshot");
    let ran = world.ran("near");
    assert_eq!(ran.len(), 2, "{ran:?}");
    let names_it = |error: &str| error.contains("exit status 3");
    assert!(ran.iter().any(|(_, name, error)| name == "bad" && names_it(error)), "{ran:?}");
    assert!(ran.contains(&("ingest".into(), "good".into(), String::new())), "{ran:?}");

    let second = world.icecore(&["run"]);
    assert!(second.status.success(), "{}", err(&second));
    assert!(out(&second).starts_with("nothing is due; next is"), "{}", out(&second));
    let forced = world.icecore(&["run", "--source", "good"]);
    assert!(forced.status.success(), "{}", err(&forced));
    assert_eq!(world.snapshots("near").len(), 2);
    let unknown = world.icecore(&["run", "--source", "none"]);
    assert_eq!(unknown.status.code(), Some(2));
}

#[test]
fn a_repository_that_is_gone_is_unknown_and_stops_no_other() {
    let world = World::new();
    let other = GOOD.replace("good", "other").replace("near", "far");
    world.strategy(&format!("{GOOD}{other}[targets]\ncopies = 1\n"));
    fs::rename(world.path().join("near"), world.path().join("away")).unwrap();
    let run = world.icecore(&["run"]);
    assert_eq!(run.status.code(), Some(1), "{}", out(&run));
    assert!(err(&run).contains("repository near cannot be opened"), "{}", err(&run));
    assert_eq!(world.snapshots("far").len(), 1);
    let status = world.icecore(&["status"]);
    assert_eq!(status.status.code(), Some(4), "{}", out(&status));
    let value = world.json(&["status"]);
    assert_eq!(value["met"], false);
    assert_eq!(value["sources"][0]["copies"]["verdict"], "unknown", "{value:#}");
    assert_eq!(value["sources"][1]["missed"], serde_json::json!([]), "{value:#}");

    fs::rename(world.path().join("away"), world.path().join("near")).unwrap();
    assert!(world.icecore(&["run", "--source", "good"]).status.success());
    let status = world.icecore(&["status"]);
    assert!(status.status.success(), "{}", out(&status));
    assert!(out(&status).contains("\nall targets are met\n"), "{}", out(&status));
    let lately = "near: 0.0 % of bytes verified within 30 days\n";
    assert!(out(&status).contains(lately), "{}", out(&status));
}

#[test]
fn status_measures_the_age_and_says_what_to_do() {
    let world = World::new();
    world.strategy(GOOD);
    let data = world.path().join("data");
    let ingest = |time: &str, path: &Path| {
        let args = ["-r", "near", "ingest", "-q", "--time", time, path.to_str().unwrap()];
        assert!(world.icecore(&args).status.success());
    };
    ingest("2026-01-01T00:00:00Z", &data);
    let status = world.icecore(&["status"]);
    assert_eq!(status.status.code(), Some(4));
    assert!(
        out(&status).contains("good: rpo is missed: the newest snapshot is "),
        "{}",
        out(&status)
    );
    assert!(err(&status).contains("hint: `icecore run --source good`"), "{}", err(&status));
    // Another path is another source's, or nobody's.
    let other = world.sandbox.folder("other");
    ingest("now", &other);
    assert_eq!(world.icecore(&["status"]).status.code(), Some(4));
    ingest("now", &data);
    assert!(world.icecore(&["status"]).status.success());
}

#[test]
fn retention_lets_go_what_is_the_source_s_own_and_prunes() {
    let world = World::new();
    world.strategy(&GOOD.replace("rpo = \"2h\"", "keep = { last = 2 }"));
    let other = world.sandbox.folder("other");
    fs::write(other.join("file"), "other").unwrap();
    let data = world.path().join("data");
    for hour in 0..4 {
        for path in [&data, &other] {
            let time = format!("2026-01-01T0{hour}:00:00Z");
            let args = ["-r", "near", "ingest", "-q", "--time", &time, path.to_str().unwrap()];
            assert!(world.icecore(&args).status.success());
        }
    }
    let run = world.icecore(&["run"]);
    assert!(run.status.success(), "{}", err(&run));
    assert!(out(&run).contains("retention good in near: 3 snapshots forgotten"), "{}", out(&run));
    assert!(out(&run).contains("prune near: "), "{}", out(&run));
    let left = world.snapshots("near");
    let of =
        |path: &Path| left.iter().filter(|it| it["sources"][0] == path.to_str().unwrap()).count();
    assert_eq!((of(&data), of(&other)), (2, 4), "{left:#?}");
    let again = world.icecore(&["run"]);
    assert!(out(&again).starts_with("nothing is due"), "{}", out(&again));
}

#[test]
fn a_budget_verifies_and_damage_fails_the_part() {
    let world = World::new();
    world.strategy(&format!(
        "{GOOD}[targets]\nverified-within = \"1d\"\n[verify]\nmax-duration = \"1h\"\n"
    ));
    let run = world.icecore(&["run"]);
    assert!(run.status.success(), "{}", err(&run));
    assert!(out(&run).contains("verify near: "), "{}", out(&run));
    let value = world.json(&["status"]);
    assert_eq!(value["sources"][0]["verified"]["verdict"], "met", "{value:#}");
    // An empty repository has nothing to verify, so only one was.
    assert!(world.ran("far").is_empty());

    let mut packs = Vec::new();
    for folder in fs::read_dir(world.path().join("near/meta")).unwrap() {
        packs.extend(fs::read_dir(folder.unwrap().path()).unwrap().map(|it| it.unwrap().path()));
    }
    let mut bytes = fs::read(&packs[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::set_permissions(&packs[0], fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&packs[0], bytes).unwrap();
    let verify = world.icecore(&["-r", "near", "verify", "--read-data"]);
    assert_eq!(verify.status.code(), Some(4));
    let value = world.json(&["status"]);
    let why = value["sources"][0]["verified"]["why"].as_str().unwrap();
    assert_eq!(why, "in near, there is known damage");
    let what = value["faults"][0]["what"].as_str().unwrap();
    assert!(what.contains("damaged object"), "{what}");
}

#[test]
fn a_second_run_says_who_runs() {
    let world = World::new();
    // The source's command waits until the test lets it go.
    let script = "read line < gate; echo $line";
    let source = BAD.replace("echo half; exit 3", script);
    world.strategy(&source);
    let gate = world.path().join("gate");
    assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
    let mut first = world.command(&["run"]).stdout(Stdio::piped()).spawn().unwrap();
    // Opening the other end waits until the command has begun.
    let mut writer = fs::OpenOptions::new().write(true).open(&gate).unwrap();
    let second = world.icecore(&["run"]);
    assert_eq!(second.status.code(), Some(11), "{}", err(&second));
    let words = format!("s.toml is being carried out already: process {} since ", first.id());
    assert!(err(&second).contains(&words), "{}", err(&second));
    assert!(world.icecore(&["run", "--dry-run"]).status.success(), "looking is free");
    writeln!(writer, "content").unwrap();
    drop(writer);
    assert!(first.wait().unwrap().success());
    assert!(world.icecore(&["run"]).status.success(), "the lock went with the process");
}

/// Takes one request and answers it; returns its body.
fn webhook(listener: TcpListener) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| {
                    let (name, value) = line.split_once(':')?;
                    name.eq_ignore_ascii_case("content-length")
                        .then(|| value.trim().parse::<usize>())
                });
                if body.len() >= length.unwrap().unwrap() {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
                    assert!(head.starts_with("POST /hook "), "{head}");
                    return body.to_owned();
                }
            }
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "it ended early: {text}");
            bytes.extend_from_slice(&buffer[..count]);
        }
    })
}

#[test]
fn failures_and_recoveries_are_told_by_each_way() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mail = world.path().join("sendmail");
    fs::write(&mail, "#!/bin/sh\necho \"$@\" > sent; cat >> sent\n").unwrap();
    fs::set_permissions(&mail, fs::Permissions::from_mode(0o755)).unwrap();
    let flag = "test -e works && echo content";
    let source = BAD.replace("echo half; exit 3", flag);
    world.strategy(&format!(
        "{source}[[notifications]]\ncommand = \"cat > told-$$; mv told-$$ told\"\n\
         [[notifications]]\nwebhook.url = \"http://127.0.0.1:{port}/hook\"\non = [\"failure\"]\n\
         [[notifications]]\nemail = {{ to = [\"ops@example.org\"], sendmail = \"DIR/sendmail\" }}\n\
         [[notifications]]\ncommand = \"echo no >&2; exit 1\"\non = [\"always\"]\n"
    ));
    let told = webhook(listener);
    let run = world.icecore(&["run"]);
    assert_eq!(run.status.code(), Some(1), "{}", err(&run));
    let told: Value = serde_json::from_str(&told.join().unwrap()).unwrap();
    assert_eq!((&told["event"], &told["schema"]), (&"failure".into(), &1.into()), "{told:#}");
    assert_eq!(told["parts"][0]["name"], "bad");
    let by_command = || -> Option<Value> {
        serde_json::from_slice(&fs::read(world.path().join("told")).ok()?).ok()
    };
    assert_eq!(by_command().unwrap()["event"], "failure");
    let sent = fs::read_to_string(world.path().join("sent")).unwrap();
    assert!(sent.starts_with("-t -i\nTo: ops@example.org\nSubject: icecore on "), "{sent}");
    assert!(sent.contains("ingest bad: FAILED: "), "{sent}");
    assert!(err(&run).contains("cannot notify by `/bin/sh -c echo no"), "{}", err(&run));

    for name in ["told", "sent"] {
        fs::remove_file(world.path().join(name)).unwrap();
    }
    let quiet = world.icecore(&["run"]);
    assert!(quiet.status.success(), "a notification that fails fails nothing: {}", err(&quiet));
    assert!(by_command().is_none(), "nothing is new");
    fs::write(world.path().join("works"), "").unwrap();
    assert!(world.icecore(&["run", "--source", "bad"]).status.success());
    assert_eq!(by_command().unwrap()["event"], "recovery");
    fs::remove_file(world.path().join("told")).unwrap();
    assert!(world.icecore(&["run", "--source", "bad"]).status.success());
    assert!(by_command().is_none(), "it was well before");
}

#[test]
fn missed_targets_are_told_once_and_recorded() {
    let world = World::new();
    world.strategy(&format!(
        "{GOOD}[targets]\ncopies = 2\n[[notifications]]\ncommand = \"cat > told\"\n"
    ));
    let told = world.path().join("told");
    let run = world.icecore(&["run"]);
    assert!(run.status.success(), "all that was due was done: {}", err(&run));
    assert!(out(&run).contains("good: copies is missed: held by near"), "{}", out(&run));
    let value: Value = serde_json::from_slice(&fs::read(&told).unwrap()).unwrap();
    assert_eq!(value["event"], "failure");
    assert_eq!(value["sources"][0]["missed"][0]["target"], "copies");
    assert!(world.ran("near").iter().any(|(part, ..)| part == "targets"));
    fs::remove_file(&told).unwrap();
    assert!(world.icecore(&["run"]).status.success());
    assert!(!told.exists(), "told already");
    // The target is met again: all is well.
    let text = fs::read_to_string(world.path().join("s.toml")).unwrap();
    fs::write(world.path().join("s.toml"), text.replace("copies = 2", "copies = 1")).unwrap();
    assert!(world.icecore(&["run"]).status.success());
    let value: Value = serde_json::from_slice(&fs::read(&told).unwrap()).unwrap();
    assert_eq!(value["event"], "recovery");
}

#[test]
fn the_report_is_one_page_that_escapes_all_names() {
    let world = World::new();
    let hostile = world.sandbox.folder("<b>bold<b>&");
    fs::write(hostile.join("file"), "content").unwrap();
    let source = format!(
        "[sources.\"<script>alert(1)<&script>\"]\npaths = [\"{}\"]\nrepository = \"near\"\nevery = \"1h\"\nrpo = \"2h\"\n",
        hostile.display()
    );
    let bad = BAD.replace("echo half; exit 3", &format!("echo; exit 3 # {}", "<i>x<i>"));
    world.strategy(&format!("{source}{bad}{GOOD}"));
    assert_eq!(world.icecore(&["run"]).status.code(), Some(1));
    assert!(world.icecore(&["run", "--source", "good"]).status.success());
    let args = ["report", "--html", "r.html", "--json-file", "r.json", "--prometheus", "r.prom"];
    let report = world.icecore(&args);
    assert!(report.status.success(), "{}", err(&report));
    let read = |name: &str| fs::read_to_string(world.path().join(name)).unwrap();
    let page = read("r.html");
    assert!(!page.contains("<script") && !page.contains("<i>x"), "a name is part of the page");
    assert!(page.contains("&#60;script&#62;") || page.contains("&lt;script&gt;"));
    assert!(!page.contains("http://") && !page.contains("https://"), "nothing is fetched");
    well_formed(&page);
    let mode = fs::metadata(world.path().join("r.prom")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    exposition(&read("r.prom"));
    assert!(read("r.prom").contains("icecore_source_rpo_seconds{source=\"good\"} 7200\n"));
    let value: Value = serde_json::from_str(&read("r.json")).unwrap();
    assert_eq!(value["schema"], 1);
    assert_eq!(value["sources"].as_array().unwrap().len(), 3);
    let good = value["rpo_history"].as_array().unwrap().iter().find(|it| it["source"] == "good");
    assert_eq!(good.unwrap()["ages"].as_array().unwrap().len(), 4, "{value:#}");
    let shown: Value = serde_json::from_slice(&world.icecore(&["report"]).stdout).unwrap();
    assert_eq!(shown["sources"].as_array().unwrap().len(), 3);
}

/// A source with a replica.
const COPIED: &str = "[sources.good]\npaths = [\"DIR/data\"]\nrepository = \"near\"\nreplicas = [\"far\"]\nevery = \"1h\"\nrpo = \"2h\"\n";

#[test]
fn a_replica_that_cannot_be_reached_fails_the_run_is_recorded_told_and_shown() {
    for targets in ["", "[targets]\ncopies = 1\n"] {
        let world = World::new();
        let told = world.path().join("told");
        world.strategy(&format!("{COPIED}{targets}[[notifications]]\ncommand = \"cat > told\"\n"));
        assert!(world.icecore(&["run"]).status.success());
        assert!(world.icecore(&["status"]).status.success());
        fs::rename(world.path().join("far"), world.path().join("away")).unwrap();
        let run = world.icecore(&["run"]);
        assert_eq!(run.status.code(), Some(1), "{}{}", out(&run), err(&run));
        let named = "replicate good to far: ";
        assert!(err(&run).contains(named), "{}", err(&run));
        let ran = world.ran("near");
        let failed = |(part, name, error): &(String, String, String)| {
            part == "replicate" && name == "good to far" && error.contains("no repository")
        };
        assert!(ran.iter().any(failed), "{ran:?}");
        let value: Value = serde_json::from_slice(&fs::read(&told).unwrap()).unwrap();
        assert_eq!(value["event"], "failure", "{value:#}");
        let status = world.icecore(&["status"]);
        assert_eq!(status.status.code(), Some(4), "{}", out(&status));
        assert!(out(&status).contains("repository far: "), "{}", out(&status));
        assert!(!out(&status).contains("all targets are met"), "{}", out(&status));

        // The same failure is neither recorded nor told at each run, and still fails it.
        fs::remove_file(&told).unwrap();
        let records = world.ran("near").len();
        assert_eq!(world.icecore(&["run"]).status.code(), Some(1));
        assert_eq!(world.ran("near").len(), records);
        assert!(!told.exists(), "told within the day");
        fs::rename(world.path().join("away"), world.path().join("far")).unwrap();
        assert!(world.icecore(&["run"]).status.success());
        let value: Value = serde_json::from_slice(&fs::read(&told).unwrap()).unwrap();
        assert_eq!(value["event"], "recovery", "{value:#}");
        assert!(world.icecore(&["status"]).status.success());
    }
}

#[test]
fn a_replica_that_lags_behind_is_shown_without_any_target() {
    let world = World::new();
    world.strategy(&COPIED.replace("rpo = \"2h\"\n", ""));
    let data = world.path().join("data");
    let args = ["-r", "near", "ingest", "-q", data.to_str().unwrap()];
    assert!(world.icecore(&args).status.success());
    let status = world.icecore(&["status"]);
    assert_eq!(status.status.code(), Some(4), "{}", out(&status));
    let words = "good: replicas is missed: far lacks the newest snapshot";
    assert!(out(&status).contains(words), "{}", out(&status));
    assert!(world.icecore(&["run"]).status.success());
    let status = world.icecore(&["status"]);
    assert!(status.status.success(), "{}", out(&status));
}

#[test]
fn a_notification_that_comes_later_is_told_of_what_is_missed_already() {
    let world = World::new();
    let text =
        format!("{GOOD}[targets]\ncopies = 2\n[[notifications]]\ncommand = \"cat > told\"\n");
    world.strategy(&text);
    let [told, second] = ["told", "second"].map(|name| world.path().join(name));
    assert!(world.icecore(&["run"]).status.success());
    assert!(told.exists());
    fs::remove_file(&told).unwrap();
    // One that fails is not told, so it is tried again.
    let later = "[[notifications]]\ncommand = \"test -e works && cat > second\"\n";
    world.strategy(&format!("{text}{later}"));
    assert!(world.icecore(&["run"]).status.success());
    assert!(!told.exists() && !second.exists());
    fs::write(world.path().join("works"), "").unwrap();
    assert!(world.icecore(&["run"]).status.success());
    let value: Value = serde_json::from_slice(&fs::read(&second).unwrap()).unwrap();
    assert_eq!(value["event"], "failure");
    fs::remove_file(&second).unwrap();
    assert!(world.icecore(&["run"]).status.success());
    assert!(!told.exists() && !second.exists(), "both know");
}

#[test]
fn bytes_that_are_younger_than_the_target_cannot_have_missed_it() {
    let world = World::new();
    world.strategy(&format!("{GOOD}[targets]\nverified-within = \"1d\"\n"));
    assert!(world.icecore(&["run"]).status.success());
    let status = world.icecore(&["status"]);
    assert!(status.status.success(), "{}", out(&status));
    for kind in ["meta", "data"] {
        for pack in packs(&world, kind) {
            let old = std::time::SystemTime::now() - Duration::from_secs(86_400 + 60);
            let file = fs::File::open(&pack).unwrap();
            file.set_times(fs::FileTimes::new().set_modified(old)).unwrap();
        }
    }
    let status = world.icecore(&["status"]);
    assert_eq!(status.status.code(), Some(4), "{}", out(&status));
    assert!(out(&status).contains("were never verified"), "{}", out(&status));
}

/// The packs of the repository `near`.
fn packs(world: &World, kind: &str) -> Vec<std::path::PathBuf> {
    let Ok(folders) = fs::read_dir(world.path().join("near").join(kind)) else { return Vec::new() };
    let files = |folder: fs::DirEntry| fs::read_dir(folder.path()).unwrap();
    folders.flat_map(|it| files(it.unwrap())).map(|it| it.unwrap().path()).collect()
}

#[test]
fn known_damage_is_red_without_any_target_and_nothing_is_forgotten_or_pruned() {
    let world = World::new();
    world.strategy(&GOOD.replace("rpo = \"2h\"", "keep = { last = 1 }"));
    for count in 0..3 {
        fs::write(world.path().join("data/file"), format!("content {count}").repeat(3000)).unwrap();
        let data = world.path().join("data");
        let args = ["-r", "near", "ingest", "-q", data.to_str().unwrap()];
        assert!(world.icecore(&args).status.success());
    }
    let pack = packs(&world, "meta").remove(0);
    let whole = fs::read(&pack).unwrap();
    let mut bytes = whole.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::set_permissions(&pack, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&pack, bytes).unwrap();
    assert_eq!(world.icecore(&["-r", "near", "verify", "--read-data"]).status.code(), Some(4));
    let status = world.icecore(&["status"]);
    assert_eq!(status.status.code(), Some(4), "{}", out(&status));
    assert!(out(&status).contains("repository near: "), "{}", out(&status));
    assert!(err(&status).contains("icecore -r ") && err(&status).contains("repair packs"));
    let value = world.json(&["status"]);
    assert_eq!(value["met"], false);
    assert_eq!(value["sources"][0]["copies"]["have"], 0, "{value:#}");
    let run = world.icecore(&["run"]);
    assert_eq!(run.status.code(), Some(1), "{}{}", out(&run), err(&run));
    assert!(err(&run).contains("retention good in near: "), "{}", err(&run));
    assert!(err(&run).contains("repair packs"), "{}", err(&run));
    assert_eq!(world.snapshots("near").len(), 3, "nothing was forgotten");
    // The structure does not show that the bytes are whole again; reading them does.
    fs::write(&pack, whole).unwrap();
    assert!(world.icecore(&["-r", "near", "verify"]).status.success());
    let status = world.icecore(&["status"]);
    assert_eq!(status.status.code(), Some(4));
    let command = "near verify --older-than 1d`";
    assert!(err(&status).contains(command), "{}", err(&status));
    // A repair has read it too, and says so in the ledger; a dry run changes nothing.
    let mended = world.icecore(&["-r", "near", "repair", "packs", "--dry-run"]);
    assert!(mended.status.success(), "{}{}", out(&mended), err(&mended));
    assert_eq!(world.icecore(&["status"]).status.code(), Some(4));
    let mended = world.icecore(&["-r", "near", "repair", "packs", "--yes"]);
    assert!(mended.status.success(), "{}{}", out(&mended), err(&mended));
    assert!(err(&mended).contains("verified: "), "{}", err(&mended));
    let status = world.icecore(&["status"]);
    assert!(status.status.success(), "{}{}", out(&status), err(&status));
    assert!(world.icecore(&["run"]).status.success());
    assert_eq!(world.snapshots("near").len(), 1);
}

/// Waits for what must come to be within a minute.
fn until(missing: &str, is_so: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "{missing}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_hook_after_that_fails_fails_the_part_is_told_and_is_tried_again_until_it_succeeds() {
    let world = World::new();
    let at = world.path();
    world.strategy(
        "[sources.a]\npaths = [\"DIR/data\"]\nrepository = \"near\"\n\
         hooks = { after = \"test -e DIR/thaws && echo $ICECORE_ERROR >> DIR/thawed\", \
         on-failure = \"echo $ICECORE_ERROR >> DIR/failed\" }\n\
         [sources.b]\npaths = [\"DIR/data/file\"]\nrepository = \"near\"\n\
         [[notifications]]\ncommand = \"cat >> DIR/told\"\n",
    );
    let run = |source: &str| {
        let mut command = world.command(&["run", "--source", source]);
        command.env("ICECORE_RUNTIME_DIR", at).output().unwrap()
    };
    let notes = || fs::read_dir(at.join("captures")).unwrap().count();
    let first = run("a");
    assert_eq!(first.status.code(), Some(1), "{}", out(&first));
    let told = err(&first);
    assert!(
        told.contains("the hook after it failed: ") && told.contains("tries it again"),
        "{told}"
    );
    assert_eq!((world.snapshots("near").len(), notes()), (1, 1));
    assert!(world.ran("near")[0].2.contains("the hook after it failed: "));
    assert!(fs::read_to_string(at.join("told")).unwrap().contains("the hook after it failed"));
    let failed = fs::read_to_string(at.join("failed")).unwrap();
    assert!(failed.lines().count() == 1 && failed.starts_with("the hook after it failed"));
    // A run of the strategy tries it once, whatever it is asked for, and has failed with it.
    fs::write(at.join("told"), "").unwrap();
    let second = run("b");
    assert_eq!((second.status.code(), notes()), (Some(1), 1), "{}", err(&second));
    assert_eq!(err(&second).matches("left this undone").count(), 1, "{}", err(&second));
    assert!(world.ran("near").iter().any(|ran| ran.2.contains("left this undone")));
    assert!(!fs::read_to_string(at.join("told")).unwrap().contains("recovery"));
    // The source is not captured while its service's state is unknown.
    let count = world.snapshots("near").len();
    let third = run("a");
    assert_eq!((third.status.code(), notes()), (Some(1), 1), "{}", err(&third));
    assert!(err(&third).contains("not captured, as it is in an unknown state"), "{}", err(&third));
    assert_eq!(world.snapshots("near").len(), count);
    // Another strategy's run leaves it alone.
    fs::write(at.join("thaws"), "").unwrap();
    let text = fs::read_to_string(at.join("s.toml")).unwrap();
    fs::write(at.join("other.toml"), text).unwrap();
    let other = at.join("other.toml");
    let mut command = world.command(&["run", "--source", "b", "--file", other.to_str().unwrap()]);
    let other = command.env("ICECORE_RUNTIME_DIR", at).output().unwrap();
    assert_eq!((other.status.code(), notes()), (Some(0), 1), "{}", err(&other));
    assert_eq!((run("b").status.code(), notes()), (Some(0), 0));
    assert!(fs::read_to_string(at.join("thawed")).unwrap().contains("failed before"));
}

#[test]
fn what_follows_a_hook_of_a_run_that_was_killed_comes_after_the_end_of_that_hook() {
    let world = World::new();
    let at = world.path();
    // What the shell starts outlives it; only as a group all of it can be found.
    world.strategy(
        "[sources.a]\npaths = [\"DIR/data\"]\nrepository = \"near\"\n\
         hooks = { before = \"(touch DIR/begun; sleep 5; touch DIR/frozen); true\", \
         after = \"rm -f DIR/frozen; echo thawed >> DIR/thawed\" }\n\
         [sources.b]\npaths = [\"DIR/data/file\"]\nrepository = \"near\"\n",
    );
    let run = |source: &str| {
        let mut command = world.command(&["run", "--source", source]);
        command.env("ICECORE_RUNTIME_DIR", at);
        command
    };
    let mut child = run("a").stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    until("the hook does not begin", || at.join("begun").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    let next = run("b").output().unwrap();
    assert_eq!(next.status.code(), Some(0), "{}", err(&next));
    assert_eq!(fs::read_to_string(at.join("thawed")).unwrap(), "thawed\n");
    // Longer than the hook would have taken.
    std::thread::sleep(Duration::from_secs(6));
    assert!(!at.join("frozen").exists(), "it was frozen after it was thawed");
    assert_eq!(fs::read_dir(at.join("captures")).unwrap().count(), 0);
}

#[test]
fn a_partial_snapshot_is_told_as_such() {
    let world = World::new();
    let told = world.path().join("told");
    let notify = "[[notifications]]\ncommand = \"cat > told\"\n";
    let missing = GOOD.replace("DIR/data\"", "DIR/data\", \"DIR/gone\"");
    world.strategy(&format!("{missing}{notify}"));
    let run = world.icecore(&["run"]);
    assert_eq!(run.status.code(), Some(3), "{}{}", out(&run), err(&run));
    let value: Value = serde_json::from_slice(&fs::read(&told).unwrap()).unwrap();
    assert_eq!(value["event"], "partial", "{value:#}");
    fs::remove_file(&told).unwrap();
    assert_eq!(world.icecore(&["run", "--source", "good"]).status.code(), Some(3));
    assert!(!told.exists(), "told within the day");
}

#[test]
fn a_member_that_is_run_alone_gets_its_copy() {
    let world = World::new();
    world.strategy(
        "[sources.all]\ngroup = { members = [\"a\", \"b\"] }\nrepository = \"near\"\n\
         replicas = [\"far\"]\nevery = \"1h\"\n[sources.a]\npaths = [\"DIR/data\"]\n\
         [sources.b]\npaths = [\"DIR/data\"]\n",
    );
    let run = world.icecore(&["run", "--source", "a"]);
    assert!(run.status.success(), "{}{}", out(&run), err(&run));
    assert_eq!(world.snapshots("far").len(), 1, "{}", out(&run));
    let run = world.icecore(&["run"]);
    assert!(run.status.success(), "{}{}", out(&run), err(&run));
    assert_eq!(world.snapshots("far").len(), 2, "{}", out(&run));
    assert!(world.icecore(&["status"]).status.success());
    assert!(out(&world.icecore(&["run"])).starts_with("nothing is due"));

    // A replica that cannot be reached fails the run of one source as it fails that of all.
    fs::rename(world.path().join("far"), world.path().join("away")).unwrap();
    for name in ["a", "all"] {
        let run = world.icecore(&["run", "--source", name]);
        assert_eq!(run.status.code(), Some(1), "{name}: {}{}", out(&run), err(&run));
        let what = format!("replicate {name} to far: repository far cannot be read");
        assert!(err(&run).contains(&what), "{}", err(&run));
        let subject = format!("{name} to far");
        let told =
            world.ran("near").into_iter().filter(|it| it.0 == "replicate" && it.1 == subject);
        let told: Vec<_> = told.filter(|it| it.2.contains("cannot be read")).collect();
        assert_eq!(told.len(), 1, "{told:?}");
    }
}

#[test]
fn a_report_that_cannot_be_written_names_the_file() {
    let world = World::new();
    world.strategy(GOOD);
    let report = world.icecore(&["report", "--html", "no/such/r.html"]);
    assert_eq!(report.status.code(), Some(1));
    assert!(err(&report).contains("cannot write no/such/r.html: "), "{}", err(&report));
    assert!(!err(&report).contains(".tmp"), "{}", err(&report));
    // What can be written is, and each file that cannot is told with what to do.
    let args =
        ["report", "--html", "/proc/r.html", "--prometheus", "data", "--json-file", "r.json"];
    let report = world.icecore(&args);
    assert_eq!(report.status.code(), Some(1), "{}", out(&report));
    for what in [
        "cannot write /proc/r.html: no file can be made in /proc",
        "cannot write data: it is a folder",
        "hint: name a file on a disk",
    ] {
        assert!(err(&report).contains(what), "{what}: {}", err(&report));
    }
    assert!(out(&report).contains("wrote r.json"), "{}", out(&report));
    fs::remove_file(world.path().join("r.json")).unwrap();
    // Devices and links are written to, and stay what they are.
    std::os::unix::fs::symlink("real.html", world.path().join("link.html")).unwrap();
    fs::write(world.path().join("real.html"), "old").unwrap();
    let report = world.icecore(&["report", "--html", "link.html", "--prometheus", "/dev/stdout"]);
    assert!(report.status.success(), "{}", err(&report));
    assert!(out(&report).contains("# TYPE icecore_"), "{}", out(&report));
    assert!(world.path().join("link.html").is_symlink());
    assert!(fs::read_to_string(world.path().join("real.html")).unwrap().contains("</html>"));
    let report = world.icecore(&["report", "--json", "r.json"]);
    assert!(report.status.success(), "{}", err(&report));
    let value: Value =
        serde_json::from_slice(&fs::read(world.path().join("r.json")).unwrap()).unwrap();
    assert_eq!(value["schema"], 1);
}

#[test]
fn replicate_takes_names_and_replicas_of_the_strategy() {
    let world = World::new();
    world.strategy(COPIED);
    let data = world.path().join("data");
    let ingest = || {
        let args = ["-r", "near", "ingest", "-q", data.to_str().unwrap()];
        assert!(world.icecore(&args).status.success());
    };
    let copied = |args: &[&str], count: usize| {
        let output = world.icecore(args);
        assert!(output.status.success(), "{args:?}: {}{}", out(&output), err(&output));
        assert_eq!(world.snapshots("far").len(), count, "{args:?}: {}", out(&output));
        out(&output)
    };
    ingest();
    copied(&["replicate"], 1);
    assert_eq!(copied(&["replicate"], 1), "nothing to copy\n");
    ingest();
    copied(&["-r", "far", "replicate"], 1);
    copied(&["-r", "near", "replicate"], 2);
    ingest();
    copied(&["replicate", "--to", "far"], 3);
    ingest();
    copied(&["-r", "near", "replicate", "--to", "far", "latest"], 4);
    let wrong = world.icecore(&["replicate", "--to", "near"]);
    assert_eq!(wrong.status.code(), Some(2), "{}", err(&wrong));
    let unknown = world.icecore(&["replicate", "--to", "nosuch"]);
    assert_eq!(unknown.status.code(), Some(2));
    let told = err(&unknown);
    assert!(told.contains("there is no repository or folder nosuch\n"), "{told}");
    assert!(told.contains("s.toml names far, near"), "{told}");
    fs::rename(world.path().join("far"), world.path().join("away")).unwrap();
    let gone = world.icecore(&["replicate"]);
    assert_eq!(gone.status.code(), Some(1), "{}", out(&gone));
    assert!(err(&gone).contains("replicate good to far: repository far cannot be read"));
    fs::remove_file(world.path().join("s.toml")).unwrap();
    assert_eq!(world.icecore(&["-r", "near", "replicate"]).status.code(), Some(2));
}

/// Every tag that is opened is closed, in order; those that have no end are known.
fn well_formed(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    let body = page.split_once("</style>").unwrap().1;
    for piece in body.split('<').skip(1) {
        let tag = piece.split_once('>').unwrap_or_else(|| panic!("no end: {piece}")).0;
        let name = tag.split([' ', '/']).find(|it| !it.is_empty()).unwrap();
        if let Some(closed) = tag.strip_prefix('/') {
            if closed == "head" {
                continue; // opened before the style
            }
            match open.pop() {
                Some(opened) => assert_eq!(opened, closed),
                None => assert_eq!(closed, "html"),
            }
        } else if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

/// Prometheus' text format: comments before the samples of each metric, each sample a name, labels
/// and a number.
fn exposition(text: &str) {
    assert!(text.ends_with('\n'));
    let mut metric = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            metric = rest.strip_suffix(" gauge").unwrap().to_owned();
            assert!(metric.starts_with("icecore_"), "{line}");
        } else if !line.starts_with("# HELP ") {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert_eq!(series.split('{').next().unwrap(), metric, "{line}");
            assert!(series == metric || series.ends_with("\"}"), "{line}");
        }
    }
}

#[test]
fn units_are_written_shown_verified_and_taken_away() {
    let world = World::new();
    world.strategy(&GOOD.replace("1h", "20min").replace("2h", "40min"));
    let print = world.icecore(&["schedule", "--print"]);
    assert!(print.status.success(), "{}", err(&print));
    let shown = out(&print);
    assert!(shown.contains("OnCalendar=*:0/5\n") && shown.contains("Persistent=true"), "{shown}");
    assert!(shown.contains("*/5 * * * * "), "{shown}");
    let config = world.path().join("home/.config/systemd/user");
    for user in [true, false] {
        let value = match user {
            true => world.json(&["schedule", "--print", "--user"]),
            false => world.json(&["schedule", "--print"]),
        };
        let folder = world.sandbox.folder(if user { "units-user" } else { "units" });
        let mut verify = Command::new("systemd-analyze");
        verify.args(["verify", "--man=no"]).arg(if user { "--user" } else { "--system" });
        for kind in ["service", "timer"] {
            let path = folder.join(format!("icecore-run.{kind}"));
            fs::write(&path, value[kind].as_str().unwrap()).unwrap();
            verify.arg(path);
        }
        let runtime = world.sandbox.path().join("tmp");
        let output = verify.env("XDG_RUNTIME_DIR", runtime).output().expect("systemd-analyze runs");
        let said = format!("{}{}", out(&output), err(&output));
        // What is said of other units of the machine is not ours.
        assert!(!said.contains("icecore-run"), "{said}");
    }
    let written = world.icecore(&["schedule", "--user"]);
    assert!(written.status.success(), "{}", err(&written));
    assert!(err(&written).contains("systemctl --user enable --now icecore-run.timer"));
    let service = fs::read_to_string(config.join("icecore-run.service")).unwrap();
    assert!(service.contains(" run --quiet --file "), "{service}");
    assert!(config.join("icecore-run.timer").exists());
    assert!(world.icecore(&["schedule", "--user", "--remove"]).status.success());
    assert!(!config.join("icecore-run.timer").exists());
    assert_eq!(world.icecore(&["schedule", "--user", "--remove"]).status.code(), Some(1));
}
