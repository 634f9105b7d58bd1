//! Options that every command takes.

use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::{ArgAction, Args};

use crate::strategy::file::Repository as Place;
use crate::units;

/// Options that every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalOptions {
    /// Folder of the repository
    #[arg(
        short,
        long,
        global = true,
        env = "ICECORE_REPOSITORY",
        hide_env_values = true,
        value_name = "PATH"
    )]
    pub repository: Option<PathBuf>,

    #[command(flatten)]
    pub secret: SecretOptions,

    /// Folder for opened index segments [default: ~/.cache/icecore]
    #[arg(
        long,
        global = true,
        env = "ICECORE_CACHE_DIR",
        hide_env_values = true,
        value_name = "DIR"
    )]
    pub cache_dir: Option<PathBuf>,

    /// Keep nothing on this machine: index segments are opened anew each time
    #[arg(long, global = true)]
    pub no_cache: bool,

    /// Write to the repository at most so many bytes a second, like 20M
    #[arg(long, global = true, value_name = "SIZE", value_parser = rate)]
    #[arg(allow_hyphen_values = true)]
    pub limit_upload: Option<NonZeroU64>,

    /// Read from the repository at most so many bytes a second
    #[arg(long, global = true, value_name = "SIZE", value_parser = rate)]
    #[arg(allow_hyphen_values = true)]
    pub limit_download: Option<NonZeroU64>,

    /// Print data and errors only: no progress, no reports in words
    #[arg(short, long, global = true)]
    pub quiet: bool,

    /// Print the report as JSON; errors too, on standard error
    #[arg(long, global = true)]
    pub json: bool,

    /// Log more to standard error; twice or three times for more still
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
}

/// Where the secret comes from, when a flag says so.
#[derive(Debug, Args)]
pub(crate) struct SecretOptions {
    /// File whose whole contents are the key; at least 16 bytes
    #[arg(long, global = true, value_name = "FILE")]
    pub key_file: Option<PathBuf>,

    /// File that holds the passphrase; a newline at its end does not count
    #[arg(long, global = true, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,

    /// Command, run by sh, that prints the passphrase
    #[arg(long, global = true, value_name = "COMMAND")]
    pub passphrase_command: Option<String>,
}

impl From<&Place> for SecretOptions {
    /// What the strategy names for one of its repositories.
    fn from(place: &Place) -> Self {
        Self {
            key_file: place.key_file.as_ref().map(PathBuf::from),
            passphrase_file: place.passphrase_file.as_ref().map(PathBuf::from),
            passphrase_command: place.passphrase_command.clone(),
        }
    }
}

impl SecretOptions {
    /// How many of the flags are given. clap cannot tell that they exclude each other when one
    /// stands before the command and one after it.
    pub(crate) fn given(&self) -> usize {
        usize::from(self.key_file.is_some())
            + usize::from(self.passphrase_file.is_some())
            + usize::from(self.passphrase_command.is_some())
    }
}

impl GlobalOptions {
    /// Where opened index segments go: the flag, `$XDG_CACHE_HOME/icecore`, `~/.cache/icecore`,
    /// or `/var/cache/icecore` where there is no home, as under systemd.
    pub(crate) fn cache(&self) -> Option<PathBuf> {
        if self.no_cache {
            return None;
        }
        let absolute = |name| {
            std::env::var_os(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute())
        };
        let default = || {
            let home = || absolute("HOME").map(|home| home.join(".cache"));
            let system = || rustix::process::geteuid().is_root().then(|| "/var/cache".into());
            let folder = absolute("XDG_CACHE_HOME").or_else(home).or_else(system);
            folder.map(|folder: PathBuf| folder.join("icecore"))
        };
        self.cache_dir.clone().or_else(default)
    }
}

/// More bytes a second than any storage moves.
const RATE_MAX: u64 = 1 << 40;

/// A number of bytes a second.
pub(crate) fn rate(text: &str) -> Result<NonZeroU64, String> {
    let bytes = units::parse_size_up_to(text, RATE_MAX, "leave the limit out: it may be at most")?;
    NonZeroU64::new(bytes).ok_or_else(|| "a limit of 0 would never end".into())
}
