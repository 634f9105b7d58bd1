//! A Redis server on this machine: which of its files are whole, and when.
//!
//! A server with an append-only log reads only that when it starts: with a `dump.rdb` alone it comes
//! up empty, without an error. So its log is taken, and while it is, the server must not replace it:
//! rewriting is switched off, and switched on again when [`Server`] goes, whatever happened (see
//! [`super::undo`]).

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redis::{
    Client, Connection, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, RedisError,
};

use super::undo::{Claim, Owner, Switched, Undo};

/// For connecting, and for each answer: a server that forks may be silent for seconds.
const ANSWER: Duration = Duration::from_secs(30);
/// The same for putting a setting back, which whoever does not need the server waits for too.
const SHORT: Duration = Duration::from_secs(2);
/// Between two words about a task of the server's that goes on.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at a background task.
const LOOK: Duration = Duration::from_millis(50);
const REWRITE: &str = "auto-aof-rewrite-percentage";

/// A server that is being captured.
pub struct Server {
    connection: Connection,
    /// For each answer.
    within: Duration,
    address: String,
    password_file: Option<PathBuf>,
    /// The rewriting of the log, while it is off.
    rewrite: Option<Switched>,
    /// What the log was when it was settled.
    mark: Option<String>,
}

/// What became of a question to a server, and what to do about it.
fn told(address: &str, within: Duration, err: &RedisError) -> String {
    let is_lost = err.is_connection_dropped() || err.is_unrecoverable_error();
    if err.is_timeout() {
        let within = within.as_secs();
        return format!(
            "redis at {address} did not answer within {within} s; see whether it hangs or is \
             stopped (redis-cli ping), and start it again"
        );
    }
    if is_lost && !err.is_connection_refusal() {
        return format!(
            "redis at {address} ended the connection ({err}); see the server's log, and start it \
             again where it is down"
        );
    }
    format!("{err}{}", remedy(&err.to_string()))
}

/// What to do about a server that lets nobody in, or is not there.
fn remedy(err: &str) -> &'static str {
    let is = |words: &[&str]| words.iter().any(|word| err.contains(word));
    if is(&["NOAUTH"]) {
        "; name a file with its password as password-file"
    } else if is(&["AuthenticationFailed", "WRONGPASS", "authentication failed"]) {
        "; password-file must hold the server's requirepass"
    } else if is(&["Connection refused", "No such file or directory", "timed out"]) {
        "; start the server, or correct the source's address"
    } else if is(&["LOADING"]) {
        "; it reads its data still, try again when it has"
    } else {
        ""
    }
}

/// What to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// `redis rdb` or `redis aof`.
    pub method: &'static str,
    /// Files or folders.
    pub paths: Vec<PathBuf>,
    /// Versions, counts, positions, sorted by name.
    pub facts: Vec<(String, String)>,
}

impl Server {
    /// Connects to a socket's path or `host:port`.
    ///
    /// # Errors
    /// In words, as all of this module.
    pub fn connect(address: &str, password_file: Option<&Path>) -> Result<Self, String> {
        Self::connect_within(address, password_file, ANSWER)
    }

    fn connect_within(
        address: &str,
        password_file: Option<&Path>,
        within: Duration,
    ) -> Result<Self, String> {
        let failed = |what: String| format!("cannot connect to {address}: {what}");
        // Its greeting would be one more answer to wait for.
        let mut settings = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(file) = password_file {
            let text = std::fs::read_to_string(file)
                .map_err(|err| failed(format!("cannot read {}: {err}", file.display())))?;
            settings = settings.set_password(text.trim_end_matches(['\r', '\n']));
        }
        let connected = |place: ConnectionAddr| {
            let info = place.into_connection_info()?.set_redis_settings(settings);
            let connection = Client::open(info)?.get_connection_with_timeout(within)?;
            connection.set_read_timeout(Some(within))?;
            connection.set_write_timeout(Some(within))?;
            Ok(connection)
        };
        let connection = connected(place(address).map_err(failed)?)
            .map_err(|err: RedisError| failed(told(address, within, &err)))?;
        let (address, password_file) = (address.to_owned(), password_file.map(Path::to_owned));
        Ok(Self { connection, within, address, password_file, rewrite: None, mark: None })
    }

    /// What it keeps on disk: its dump, its log.
    pub fn places(&mut self) -> Result<Vec<PathBuf>, String> {
        let folder = PathBuf::from(self.setting("dir")?);
        let names = ["dbfilename", "appenddirname", "appendfilename"];
        // Not all versions have each.
        let names = names.iter().filter_map(|name| self.setting(name).ok());
        Ok(names.filter(|name| !name.is_empty()).map(|name| folder.join(name)).collect())
    }

    /// Brings the server's files into a state in which they can be taken.
    pub fn prepare(&mut self, owner: &Owner, interrupted: &AtomicBool) -> Result<Saved, String> {
        let folder = PathBuf::from(self.setting("dir")?);
        let (method, paths) = if self.setting("appendonly")? == "yes" {
            ("redis aof", vec![folder.join(self.settle_log(owner, interrupted)?)])
        } else {
            ("redis rdb", vec![folder.join(self.save(interrupted)?)])
        };
        for path in &paths {
            path.symlink_metadata().map_err(|err| {
                let path = path.display();
                format!("cannot find {path}: {err}; run icecore on the server's machine")
            })?;
        }
        Ok(Saved { method, paths, facts: self.facts()? })
    }

    /// Whether the log that was taken is still the one that the server writes to.
    pub fn is_settled(&mut self) -> Result<bool, String> {
        let is_same = match self.mark.clone() {
            Some(mark) => self.log_mark()? == mark,
            None => true,
        };
        Ok(is_same && self.info("aof_rewrite_in_progress")? != "1")
    }

    /// Differs after each rewrite of the log, and each start of the server.
    fn log_mark(&mut self) -> Result<String, String> {
        let text: String = self.ask(&["INFO"])?;
        let names = ["run_id", "aof_rewrites", "aof_base_size"];
        Ok(names.map(|name| field(&text, name).unwrap_or_default()).join(" "))
    }

    /// Saves a dump in the background; returns its name.
    fn save(&mut self, interrupted: &AtomicBool) -> Result<String, String> {
        // One that runs already may have begun before what must be in it, or be for a replica and
        // write no file; and what is only scheduled has not begun when nothing runs. So it must be
        // one that the server says it started for this.
        loop {
            self.wait("rdb_bgsave_in_progress", interrupted)?;
            self.wait("aof_rewrite_in_progress", interrupted)?;
            match self.ask::<String>(&["BGSAVE"]) {
                Ok(said) if said.contains("started") => break,
                Ok(said) => return Err(format!("BGSAVE: the server says {said}")),
                // Another child of the server was faster.
                Err(what) if is_occupied(&what) => pause(interrupted)?,
                Err(what) => return Err(what),
            }
        }
        self.wait("rdb_bgsave_in_progress", interrupted)?;
        match self.info("rdb_last_bgsave_status")?.as_str() {
            "ok" => self.setting("dbfilename"),
            status => Err(format!("BGSAVE ended with status {status}; see the server's log")),
        }
    }

    /// Keeps the log from being replaced; returns the name of its folder or file.
    fn settle_log(&mut self, owner: &Owner, interrupted: &AtomicBool) -> Result<String, String> {
        if self.rewrite.is_none() {
            let run_id = self.run_id()?;
            // Another capture of this server would take for the setting what this one sets.
            let claim = Claim::take(&format!("redis-{run_id}"), interrupted)?;
            let value = self.setting(REWRITE)?;
            let (address, password_file) = (self.address.clone(), self.password_file.clone());
            self.rewrite = Some(
                claim.note(owner.clone(), Undo::Redis { address, password_file, run_id, value })?,
            );
        }
        self.ask::<String>(&["CONFIG", "SET", REWRITE, "0"])?;
        self.wait("aof_rewrite_scheduled", interrupted)?;
        self.wait("aof_rewrite_in_progress", interrupted)?;
        self.mark = Some(self.log_mark()?);
        // Before version 7 the log is one file.
        match self.setting("appenddirname") {
            Ok(folder) => Ok(folder),
            Err(_) => self.setting("appendfilename"),
        }
    }

    /// The server's name as long as it runs: 40 hexadecimal digits.
    fn run_id(&mut self) -> Result<String, String> {
        let text: String = self.ask(&["INFO", "server"])?;
        let id = field(&text, "run_id").filter(|id| id.bytes().all(|b| b.is_ascii_alphanumeric()));
        id.map(str::to_owned).ok_or_else(|| "the server does not tell its run_id".to_owned())
    }

    fn facts(&mut self) -> Result<Vec<(String, String)>, String> {
        let mut facts = vec![("dbsize".to_owned(), self.ask::<i64>(&["DBSIZE"])?.to_string())];
        let text: String = self.ask(&["INFO"])?;
        for name in
            ["aof_base_size", "aof_current_size", "rdb_last_save_time", "redis_version", "run_id"]
        {
            facts.extend(field(&text, name).map(|value| (name.to_owned(), value.to_owned())));
        }
        facts.sort();
        Ok(facts)
    }

    fn ask<T: redis::FromRedisValue>(&mut self, words: &[&str]) -> Result<T, String> {
        let mut command = redis::cmd(words.first().copied().unwrap_or_default());
        for word in words.iter().skip(1) {
            command.arg(*word);
        }
        let asked = words.iter().take(3).copied().collect::<Vec<_>>().join(" ");
        let answer = command.query(&mut self.connection);
        answer.map_err(|err| format!("{asked}: {}", told(&self.address, self.within, &err)))
    }

    fn setting(&mut self, name: &str) -> Result<String, String> {
        let pair: Vec<String> = self.ask(&["CONFIG", "GET", name])?;
        pair.into_iter().nth(1).ok_or_else(|| format!("the server has no setting {name}"))
    }

    fn info(&mut self, name: &str) -> Result<String, String> {
        let text: String = self.ask(&["INFO", "persistence"])?;
        let value = field(&text, name);
        value.map(str::to_owned).ok_or_else(|| format!("the server does not tell {name}"))
    }

    /// Waits until a background task is over.
    fn wait(&mut self, task: &str, interrupted: &AtomicBool) -> Result<(), String> {
        let mut said = Instant::now();
        while self.info(task)? != "0" {
            if interrupted.load(Ordering::SeqCst) {
                return Err("interrupted".to_owned());
            }
            if said.elapsed() > PATIENCE {
                tracing::info!("waiting for the server: {task}");
                said = Instant::now();
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}

/// Sets the rewriting of the log back to what it was, at the server that was started under this
/// id, unless somebody else has done so. It waits for seconds only.
///
/// # Errors
/// Where the server is not to be reached.
pub(super) fn put_back(
    address: &str,
    password_file: Option<&Path>,
    run_id: &str,
    value: &str,
) -> Result<(), String> {
    let failed = |what| format!("cannot set {REWRITE} back to {value} at {address}: {what}");
    let mut server = Server::connect_within(address, password_file, SHORT).map_err(failed)?;
    // One that was started since has its settings from its configuration.
    if server.run_id().map_err(failed)? != run_id || server.setting(REWRITE).map_err(failed)? != "0"
    {
        return Ok(());
    }
    server.ask::<String>(&["CONFIG", "SET", REWRITE, value]).map(drop).map_err(failed)
}

/// Whether a child of the server keeps it from saving.
fn is_occupied(what: &str) -> bool {
    ["in progress", "child process is active", "can't BGSAVE right now"]
        .iter()
        .any(|words| what.contains(words))
}

fn pause(interrupted: &AtomicBool) -> Result<(), String> {
    std::thread::sleep(LOOK);
    if interrupted.load(Ordering::SeqCst) { Err("interrupted".to_owned()) } else { Ok(()) }
}

fn place(address: &str) -> Result<ConnectionAddr, String> {
    if address.starts_with('/') {
        return Ok(ConnectionAddr::Unix(PathBuf::from(address)));
    }
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "6379"));
    let port =
        port.parse().map_err(|_| "it is neither a socket's path nor host:port".to_owned())?;
    Ok(ConnectionAddr::Tcp(host.trim_matches(['[', ']']).to_owned(), port))
}

/// A field of `INFO`.
fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let text = |address| place(address).unwrap().to_string();
        assert_eq!(text("127.0.0.1:6380"), "127.0.0.1:6380");
        assert_eq!(text("cache"), "cache:6379");
        assert_eq!(text("[::1]:7"), "::1:7");
        assert_eq!(text("/run/redis.sock"), "/run/redis.sock");
        assert!(place("cache:redis").is_err());
    }

    #[test]
    fn a_server_that_does_not_answer_and_one_that_goes_away_are_named_with_what_to_do() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let silent = put_back(&address, None, "x", "100").unwrap_err();
        let expected =
            format!("redis at {address} did not answer within 2 s; see whether it hangs");
        assert!(silent.contains(&expected) && !silent.contains("os error"), "{silent}");
        let left = std::thread::spawn(move || {
            // What waits from before, and the next.
            for stream in listener.incoming().take(2) {
                let mut stream = stream.unwrap();
                let _ = std::io::Read::read(&mut stream, &mut [0; 16]);
            }
        });
        let lost = put_back(&address, None, "x", "100").unwrap_err();
        let expected = format!("redis at {address} ended the connection (");
        assert!(lost.contains(&expected) && lost.contains("start it again"), "{lost}");
        left.join().unwrap();
        let refused = put_back(&address, None, "x", "100").unwrap_err();
        assert!(refused.contains("; start the server, or correct"), "{refused}");
    }

    #[test]
    fn fields_of_info() {
        let text = "# Persistence\r\nloading:0\r\naof_rewrite_in_progress:1\r\naof_rewrite:7\r\n";
        assert_eq!(field(text, "aof_rewrite_in_progress"), Some("1"));
        assert_eq!(field(text, "aof_rewrite"), Some("7"));
        assert_eq!(field(text, "loadin"), None);
    }
}
