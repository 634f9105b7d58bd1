//! Drills of the strategy file: what is restored, started, probed and checked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::value::{Share, Span, Words};

/// A trial restore.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Drill {
    /// How the snapshot is brought back; `instant` where nothing is said.
    #[serde(default)]
    pub mode: Mode,
    /// Due this long after the last start.
    pub every: Option<Span>,
    /// Due when this calendar expression says so.
    pub calendar: Option<String>,
    /// The repository that is restored from; the first one of the sources where nothing is said.
    pub from: Option<String>,
    /// All of it is over after so long; 30 minutes where nothing is said.
    pub timeout: Option<Span>,
    /// Where services may reach; loopback only where nothing is said.
    #[serde(default)]
    pub network: Network,
    /// Whether the page cache is dropped first, as root; so it is where nothing is said.
    #[serde(default = "yes")]
    pub cold: bool,
    /// Folder for what services write, and for the copy of the mode `copy`. Where nothing is said:
    /// memory for the former, `/var/tmp` for the latter.
    pub scratch: Option<String>,
    /// Folders of this machine that services may write to: what they write there is thrown away.
    #[serde(default)]
    pub writable: Vec<String>,
    /// What is restored, by name.
    pub components: BTreeMap<String, Component>,
    /// What is started, by name.
    #[serde(default)]
    pub services: BTreeMap<String, Service>,
    /// What must hold, in order.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// What it must reach.
    #[serde(default)]
    pub targets: DrillTargets,
}

const fn yes() -> bool {
    true
}

/// How a drill brings a snapshot back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Mounted, with a writable layer over it, at the original paths in a mount namespace.
    #[default]
    Instant,
    /// Copied in full to a scratch folder, and every byte compared.
    Copy,
}

/// What a drill's services reach.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// A loopback interface of their own, and nothing else.
    #[default]
    Loopback,
    /// The machine's network: a drill may then reach live systems.
    Host,
}

/// A part of the restored system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Component {
    /// The source whose newest snapshot has it.
    pub source: String,
    /// Path in the snapshot; all of it where nothing is said.
    pub path: Option<String>,
    /// Where it stands in the drill; its original path where nothing is said.
    pub at: Option<String>,
    /// In the mode `copy`, only this share of its files and bytes is restored, drawn anew for each
    /// drill; the RTO of all of it is extrapolated from that.
    pub sample: Option<Share>,
}

/// A program that runs in the drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Service {
    /// What is run, in the foreground.
    pub run: Words,
    /// Its working directory.
    pub directory: Option<String>,
    /// The user that it runs as.
    pub user: Option<String>,
    /// Its environment, besides `PATH`, `HOME`, `USER` and `LANG`.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Services that must be ready before.
    #[serde(default)]
    pub after: Vec<String>,
    /// How to see that it is ready; ready as soon as it runs where nothing is said.
    pub ready: Option<Probe>,
    /// The signal that stops it; `TERM` where nothing is said.
    pub stop_signal: Option<String>,
}

/// How to see that a service is ready: exactly one of the ways.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Probe {
    /// An address that answers with a status from 200 to 399.
    pub http: Option<String>,
    /// `host:port` that accepts a connection.
    pub tcp: Option<String>,
    /// A socket's path that accepts a connection.
    pub unix: Option<String>,
    /// A command that succeeds.
    pub command: Option<Words>,
    /// It must be ready within so long; a minute where nothing is said.
    pub within: Option<Span>,
}

/// One thing that must hold: exactly one of the kinds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Check {
    /// What reports call it.
    pub name: Option<String>,
    /// Every byte of this component is compared with the snapshot's hashes.
    pub manifest: Option<String>,
    /// An address that answers as [`Self::status`] and the others say.
    pub http: Option<String>,
    /// The status that is expected; 200 where nothing is said.
    pub status: Option<u16>,
    /// Text that the body must have.
    pub body: Option<String>,
    /// A JSON pointer into the body, and the value there.
    pub json: Option<BTreeMap<String, toml::Value>>,
    /// Requests with known answers.
    pub golden: Option<Golden>,
    /// A query with a number as its answer.
    pub sql: Option<Query>,
    /// Files, by pattern, whose structure must be that of their kind.
    pub structure: Option<String>,
    /// A command that succeeds.
    pub command: Option<Words>,
    /// It must be over within so long; a minute where nothing is said.
    pub within: Option<Span>,
}

/// A file of requests with known answers, a JSON object a line: `request`, `answer`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Golden {
    /// The file, as the drill sees it.
    pub file: String,
    /// The address that each request is posted to.
    pub url: String,
    /// How far numbers may be from what is known, as a part of it.
    #[serde(default)]
    pub tolerance: f64,
    /// Lists of numbers need not be equal one by one: it is enough that the cosine of the angle
    /// between them is at least this. For embeddings, whose last digits differ by machine.
    pub cosine: Option<f64>,
}

/// A query of a database in the drill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Query {
    /// A SQLite file, as the drill sees it; or else
    pub sqlite: Option<String>,
    /// how to connect to PostgreSQL.
    pub postgres: Option<String>,
    /// The query: one row with one value.
    pub query: String,
    /// The value is at least this.
    pub min: Option<f64>,
    /// The value is a time, in seconds since 1970, that is at most so long before the snapshot.
    pub fresh: Option<Span>,
}

/// What a drill must reach.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct DrillTargets {
    /// From its start to the last check.
    pub rto: Option<Span>,
    /// Age of the snapshot at its start.
    pub rpo: Option<Span>,
}
