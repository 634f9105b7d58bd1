//! A connection in a thread of its own, so that a server that is silent keeps nobody waiting for ever:
//! who asks gives up after a while, or when the user stops it. The thread is left alone then; it ends
//! with the connection, or with this process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use ::postgres::Client;

use super::rows;

/// How often the user's wish is looked for.
const LOOK: Duration = Duration::from_millis(50);
/// Between two words about an answer that takes long.
const PATIENCE: Duration = Duration::from_secs(30);
/// For connecting, with what the server does until it lets someone in.
const OPEN: Duration = Duration::from_secs(30);

type Rows = Vec<Vec<String>>;

/// A connection.
pub(super) struct Session<'a> {
    queries: Sender<String>,
    answers: Receiver<Result<Rows, String>>,
    /// Where the server is, in words.
    place: String,
    interrupted: &'a AtomicBool,
}

impl<'a> Session<'a> {
    /// Opens it.
    pub(super) fn begin(
        place: String,
        open: impl FnOnce() -> Result<Client, String> + Send + 'static,
        interrupted: &'a AtomicBool,
    ) -> Result<Self, String> {
        let (queries, asked) = channel::<String>();
        let (sender, answers) = channel();
        let own = place.clone();
        std::thread::spawn(move || {
            let mut client = match open() {
                Ok(client) => client,
                Err(what) => return drop(sender.send(Err(what))),
            };
            let mut answer = Ok(Vec::new());
            while sender.send(answer).is_ok() {
                let Ok(query) = asked.recv() else { break };
                answer = rows(&mut client, &own, &query);
            }
        });
        let session = Self { queries, answers, place, interrupted };
        session.wait("a connection", OPEN)?;
        Ok(session)
    }

    /// The first column of the first row.
    pub(super) fn one(&mut self, query: &str, within: Duration) -> Result<String, String> {
        let first = self.rows(query, within)?.into_iter().flatten().next();
        first.ok_or_else(|| format!("the server answered nothing to {query}"))
    }

    /// All rows, missing values as empty text.
    pub(super) fn rows(&mut self, query: &str, within: Duration) -> Result<Rows, String> {
        // That nobody hears it the answer tells.
        let _ = self.queries.send(query.to_owned());
        self.wait(query, within)
    }

    fn wait(&self, what: &str, within: Duration) -> Result<Rows, String> {
        let start = Instant::now();
        let mut said = start;
        loop {
            if self.interrupted.load(Ordering::SeqCst) {
                return Err("interrupted".to_owned());
            }
            match self.answers.recv_timeout(LOOK) {
                Ok(answer) => return answer,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(format!("{}: the session is over", self.place));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if start.elapsed() > within {
                return Err(format!(
                    "{} did not answer within {} s ({what}); see whether it is stopped or \
                     overloaded, and start it again where it hangs",
                    self.place,
                    within.as_secs()
                ));
            }
            if said.elapsed() > PATIENCE {
                tracing::warn!("still waiting for {}: {what}", self.place);
                said = Instant::now();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::super::Server;
    use super::*;

    #[test]
    fn a_silent_server_is_given_up_in_words_and_an_interruption_ends_the_waiting() {
        let never = AtomicBool::new(false);
        let (queries, _asked) = channel();
        let (_sender, answers) = channel();
        let place = "the server at /run, port 5432".to_owned();
        let mut session = Session { queries, answers, place, interrupted: &never };
        let told = session.one("SHOW port", Duration::from_millis(1)).unwrap_err();
        for word in ["/run, port 5432 did not answer within", "(SHOW port)", "start it again"] {
            assert!(told.contains(word), "{told}");
        }
        let folder = tempfile::tempdir().unwrap();
        // Nobody takes what arrives there.
        let _silent = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).unwrap();
        let stopped = AtomicBool::new(false);
        let connection = format!("host={}", folder.path().display());
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| Server::connect(&connection, &stopped).err());
            stopped.store(true, Ordering::SeqCst);
            assert_eq!(asking.join().unwrap().as_deref(), Some("interrupted"));
        });
    }
}
