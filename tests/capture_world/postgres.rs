//! A PostgreSQL cluster in a folder of its own, with peer authentication.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Where Debian keeps the newest version's programs.
fn bin() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql");
    let missing = "postgresql is missing: apt-get install postgresql (scripts/test does)";
    let versions = versions.expect(missing).map(|entry| entry.unwrap().path().join("bin"));
    versions.filter(|bin| bin.join("initdb").exists()).max().expect(missing)
}

/// The user that servers run as: they refuse root.
fn user() -> (u32, u32) {
    let line = Command::new("getent").args(["passwd", "postgres"]).output().unwrap().stdout;
    let line = String::from_utf8(line).unwrap();
    let number = |at| line.split(':').nth(at).and_then(|text: &str| text.parse().ok()).unwrap();
    (number(2), number(3))
}

/// A program of PostgreSQL as its user.
pub fn program(name: &str) -> Command {
    let mut command = Command::new(bin().join(name));
    let (uid, gid) = user();
    command.uid(uid).gid(gid).current_dir("/").stdin(Stdio::null());
    command
}

fn done(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// A folder that the server's user may enter and write to.
pub fn folder(path: &Path) {
    std::fs::create_dir_all(path).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let (uid, gid) = user();
    std::os::unix::fs::chown(path, Some(uid), Some(gid)).unwrap();
}

/// A server that ends with its test.
pub struct Server {
    pub data: PathBuf,
    pub sockets: PathBuf,
}

impl Server {
    /// A new cluster below `place`, started.
    pub fn new(place: &Path) -> Self {
        folder(place);
        let data = place.join("data");
        done(program("initdb").args(["-A", "peer", "-N", "-D"]).arg(&data));
        Self::start(data, &place.join("sockets"))
    }

    /// A server on a data directory as it is.
    pub fn start(data: PathBuf, sockets: &Path) -> Self {
        folder(sockets);
        let settings = format!(
            "-c listen_addresses='' -c fsync=off -c shared_buffers=16MB -k {}",
            sockets.display()
        );
        let log = sockets.join("log");
        let mut start = program("pg_ctl");
        start.args(["-w", "-t", "60", "-o", &settings, "-l"]).arg(&log).arg("-D").arg(&data);
        let status = start.arg("start").stdout(Stdio::null()).status().unwrap();
        let said = || std::fs::read_to_string(&log).unwrap_or_default();
        assert!(status.success(), "the server does not start: {}", said());
        Self { data, sockets: sockets.to_owned() }
    }

    /// How icecore connects.
    pub fn connection(&self) -> String {
        format!("host={}", self.sockets.display())
    }

    fn at(&self, name: &str) -> Command {
        let mut command = program(name);
        command.arg("-h").arg(&self.sockets);
        command
    }

    pub fn sql(&self, query: &str) -> String {
        let output = done(self.at("psql").args(["-X", "-A", "-t", "-q", "-c", query]));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A session that has done this and does nothing more, until it is dropped.
    pub fn hold(&self, script: &str) -> super::Ends {
        let script = format!("{script}; SELECT pg_sleep(600)");
        let mut psql = self.at("psql");
        psql.args(["-X", "-q", "-c", &script]).stdout(Stdio::null()).stderr(Stdio::null());
        let held = super::Ends(psql.spawn().unwrap());
        let sleeps = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        super::eventually("a session holds on", || self.sql(sleeps) == "1");
        held
    }

    /// Transactions of this script from two clients, until it is dropped: hundreds a second, not all
    /// that the machine can do, since their log is captured and other tests run beside.
    pub fn load(&self, script: &str) -> super::Ends {
        let file = self.sockets.join("load.sql");
        std::fs::write(&file, script).unwrap();
        let mut bench = self.at("pgbench");
        bench.args(["-n", "-c", "2", "-R", "300", "-T", "300", "-f"]).arg(file);
        super::Ends(bench.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut stop = program("pg_ctl");
        let _ = stop.args(["-m", "immediate", "-D"]).arg(&self.data).arg("stop").output();
    }
}
