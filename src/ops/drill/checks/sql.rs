//! Queries of databases in the drill: one row with one number.

use std::cmp::Ordering;
use std::time::{Duration, Instant};

use postgres::SimpleQueryMessage;
use postgres::error::SqlState;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use crate::strategy::file::Query;

use super::super::judge::NO_TABLE;
use super::Ask;

/// A server that starts is asked again after so long.
const PAUSE: Duration = Duration::from_millis(100);

/// Asks, and holds the answer against what it must reach.
pub(super) fn check(
    query: &Query,
    ask: Ask,
    within: Duration,
    snapshot_secs: i64,
) -> Result<String, String> {
    let limits = limits(query, snapshot_secs);
    let Answer { value, reads } = match (&query.sqlite, &query.postgres) {
        (Some(path), _) => sqlite(path, &query.query)?,
        (None, Some(connection)) => postgres(connection, &query.query, within)?,
        (None, None) => return Err("it names no database".into()),
    };
    match ask {
        Ask::Plan => judge(value, &limits),
        Ask::Beside if !reads => Ok(format!("it is {value}, and {NO_TABLE}")),
        // The next number above what there is: the answer must not reach it.
        Ask::Beside => judge(value, &[("min", value.next_up())]),
    }
}

/// What a query gave.
struct Answer {
    value: f64,
    /// Whether a table was read for it, as far as the database tells.
    reads: bool,
}

/// What the value must at least be, and why.
fn limits(query: &Query, snapshot_secs: i64) -> Vec<(&'static str, f64)> {
    let min = query.min.map(|min| ("min", min));
    let fresh = query.fresh.map(|span| ("fresh", snapshot_secs as f64 - span.0.as_secs_f64()));
    min.into_iter().chain(fresh).collect()
}

fn judge(value: f64, limits: &[(&'static str, f64)]) -> Result<String, String> {
    // What is no number reaches nothing.
    let below = |least: f64| value.partial_cmp(&least).is_none_or(Ordering::is_lt);
    match limits.iter().find(|(_, least)| below(*least)) {
        Some(("fresh", least)) => {
            Err(format!("the newest is of {value}, which is {} s too old", least - value))
        }
        Some((_, least)) => Err(format!("it is {value}, at least {least} is expected")),
        None => Ok(format!("it is {value}")),
    }
}

fn sqlite(path: &str, query: &str) -> Result<Answer, String> {
    let fail = |err: rusqlite::Error| format!("{path}: {err}");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(fail)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(fail)?;
    let value = connection.query_row(query, [], |row| {
        Ok(match row.get_ref(0)? {
            ValueRef::Integer(number) => Ok(number as f64),
            ValueRef::Real(number) => Ok(number),
            ValueRef::Text(text) => number(&String::from_utf8_lossy(text)),
            ValueRef::Null => Err("the query gives NULL".to_owned()),
            ValueRef::Blob(_) => Err("the query gives a blob, no number".to_owned()),
        })
    });
    let value = value.map_err(fail)?.map_err(|what| format!("{path}: {what}"))?;
    Ok(Answer { value, reads: opens(&connection, query).map_err(fail)? })
}

/// Whether SQLite's program for a query opens a table, an index or a virtual table.
fn opens(connection: &Connection, query: &str) -> rusqlite::Result<bool> {
    let mut program = connection.prepare(&format!("explain {query}"))?;
    let codes = program.query_map([], |row| row.get::<_, String>("opcode"))?;
    let codes = codes.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(codes.iter().any(|code| ["OpenRead", "OpenWrite", "VOpen"].contains(&code.as_str())))
}

fn postgres(connection: &str, query: &str, within: Duration) -> Result<Answer, String> {
    let fail = |err: postgres::Error| crate::units::chain(&err);
    let mut config: postgres::Config = connection.parse().map_err(fail)?;
    config.connect_timeout(within);
    let mut client = connect(&config, within)?;
    // In one transaction, whose reads the server counts; workers would count theirs for themselves.
    let settings = format!(
        "begin; set local statement_timeout = {}; set local max_parallel_workers_per_gather = 0",
        within.as_millis()
    );
    client.batch_execute(&settings).map_err(fail)?;
    let answer = client.simple_query(query).map_err(fail)?;
    let value = match first(&answer) {
        Some(Ok(Some(text))) => number(text)?,
        Some(Ok(None)) => return Err("the query gives NULL".into()),
        Some(Err(err)) => return Err(fail(err)),
        None => return Err("the query gives no row".into()),
    };
    // Where the server does not count, nothing speaks against the query.
    let counted = client.simple_query(
        "select coalesce(sum(coalesce(seq_scan, 0) + coalesce(idx_scan, 0)), 0) \
         from pg_stat_xact_user_tables having current_setting('track_counts') = 'on'",
    );
    let is_none = |it: &[SimpleQueryMessage]| matches!(first(it), Some(Ok(Some("0"))));
    Ok(Answer { value, reads: !counted.is_ok_and(|it| is_none(&it)) })
}

/// The first value of the first row.
fn first(answer: &[SimpleQueryMessage]) -> Option<Result<Option<&str>, postgres::Error>> {
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    row.map(|row| row.try_get(0))
}

/// Connects; a server that is still starting, as while it recovers, is waited for.
fn connect(config: &postgres::Config, within: Duration) -> Result<postgres::Client, String> {
    let start = Instant::now();
    loop {
        match config.connect(postgres::NoTls) {
            Ok(client) => return Ok(client),
            Err(err) => {
                let is_starting = err.code() == Some(&SqlState::CANNOT_CONNECT_NOW);
                if !is_starting || start.elapsed() >= within {
                    return Err(crate::units::chain(&err));
                }
            }
        }
        std::thread::sleep(PAUSE);
    }
}

fn number(text: &str) -> Result<f64, String> {
    let short: String = text.chars().take(100).collect();
    text.trim().parse().map_err(|_| format!("the query gives \"{short}\", no number"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::file::Span;

    fn database() -> (tempfile::TempDir, Query) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db").display().to_string();
        let made = Connection::open(&path).unwrap();
        made.execute_batch("create table t (at); insert into t values (1000), (2000), ('x')")
            .unwrap();
        let query = Query {
            sqlite: Some(path),
            postgres: None,
            query: "select count(*) from t".into(),
            min: Some(3.0),
            fresh: None,
        };
        (folder, query)
    }

    fn ask(query: &Query, ask: Ask) -> Result<String, String> {
        check(query, ask, Duration::from_secs(5), 2100)
    }

    #[test]
    fn counts_and_freshness_are_held_against_what_is_expected() {
        let (_folder, query) = database();
        assert_eq!(ask(&query, Ask::Plan), Ok("it is 3".into()));
        assert!(ask(&query, Ask::Beside).is_err());
        let more = Query { min: Some(4.0), ..query.clone() };
        assert_eq!(ask(&more, Ask::Plan), Err("it is 3, at least 4 is expected".into()));
        let newest = |secs| Query {
            query: "select max(at) from t where at != 'x'".into(),
            min: None,
            fresh: Some(Span(Duration::from_secs(secs))),
            ..query.clone()
        };
        assert!(ask(&newest(100), Ask::Plan).is_ok());
        assert!(ask(&newest(99), Ask::Plan).unwrap_err().contains("1 s too old"));
        assert!(ask(&newest(100), Ask::Beside).is_err());
    }

    #[test]
    fn what_is_no_number_is_told() {
        let (_folder, query) = database();
        for (text, told) in [
            ("select at from t where at = 'x'", "\"x\", no number"),
            ("select null", "NULL"),
            ("select 1 where 0", "no rows"),
            ("select x'00'", "blob"),
            ("select nowhere", "no such column"),
            ("delete from t", "readonly"),
        ] {
            let query = Query { query: text.into(), ..query.clone() };
            let err = ask(&query, Ask::Plan).unwrap_err();
            assert!(err.contains(told), "{text}: {err}");
        }
        for text in ["select 20000", "select max(3, 20000)"] {
            let constant = Query { query: text.into(), ..query.clone() };
            assert!(ask(&constant, Ask::Plan).is_ok());
            let told = ask(&constant, Ask::Beside).unwrap();
            assert!(told.contains(", and no table was read for it; name a table"), "{told}");
        }
        for text in
            ["select count(*) = 0 from t where at < 0", "select count(*) from pragma_quick_check"]
        {
            let query = Query { query: text.into(), min: Some(1.0), ..query.clone() };
            assert!(ask(&query, Ask::Plan).is_ok(), "{text}");
            assert!(ask(&query, Ask::Beside).is_err(), "{text}");
        }
        let missing = Query { sqlite: Some("/nothing/here".into()), ..query };
        assert!(ask(&missing, Ask::Plan).is_err());
    }

    /// A message of PostgreSQL's protocol.
    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let len = body.len() + 4;
        [&[kind, 0, 0, (len >> 8) as u8, (len & 0xff) as u8][..], body].concat()
    }

    #[test]
    fn a_server_that_starts_up_is_asked_again_and_another_error_is_told() {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let refusal = |code: &str, text: &str| {
            message(b'E', format!("SFATAL\0VFATAL\0C{code}\0M{text}\0\0").as_bytes())
        };
        let answers = [
            refusal("57P03", "the database system is starting up"),
            refusal("57P03", "the database system is starting up"),
            [message(b'R', &[0; 4]), message(b'Z', b"I")].concat(),
            refusal("28000", "nobody gets in"),
        ];
        let server = std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut len = [0; 4];
                stream.read_exact(&mut len).unwrap();
                let rest = usize::from(len[2]) << 8 | usize::from(len[3]);
                stream.read_exact(&mut vec![0; rest - 4]).unwrap();
                stream.write_all(&answer).unwrap();
                let _ = stream.read(&mut [0; 16]);
            }
        });
        let config: postgres::Config =
            format!("host=127.0.0.1 port={port} user=a").parse().unwrap();
        let within = Duration::from_secs(60);
        drop(connect(&config, within).unwrap());
        let refused = connect(&config, within).map(drop).unwrap_err();
        assert!(refused.contains("nobody gets in"), "{refused}");
        server.join().unwrap();
    }
}
