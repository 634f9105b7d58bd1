//! A Redis server in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Ends, eventually};

pub struct Server {
    pub socket: PathBuf,
    _process: Ends,
}

impl Server {
    /// Starts one on `dir`; with `log`, it writes an append-only log.
    pub fn start(dir: &Path, log: bool) -> Self {
        let socket = dir.with_extension("sock");
        let log = if log { "yes" } else { "no" };
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", log, "--dir"])
            .arg(dir)
            .arg("--unixsocket")
            .arg(&socket)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is missing: apt-get install redis-server (scripts/test does)");
        let server = Self { socket, _process: Ends(child) };
        eventually("redis-server answers", || server.try_client().is_ok());
        server
    }

    fn try_client(&self) -> redis::RedisResult<redis::Connection> {
        let url = format!("redis+unix://{}", self.socket.display());
        let mut connection = redis::Client::open(url)?.get_connection()?;
        redis::cmd("DBSIZE").query::<i64>(&mut connection)?;
        Ok(connection)
    }

    pub fn client(&self) -> redis::Connection {
        self.try_client().unwrap()
    }

    pub fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query(&mut self.client()).unwrap()
    }
}
