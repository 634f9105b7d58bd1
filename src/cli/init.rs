//! `icecore init`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use crate::format::Chunking;
use crate::repo::{InitOptions, OpenOptions, RepoError, Repository};
use crate::storage::LocalStorage;
use crate::units;

use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
use super::{key, parity, secrets};

/// Make a repository
///
/// The folder is made if it is missing; it must be empty otherwise. The repository is encrypted
/// with a random master key, which a passphrase (asked for twice on a terminal) or a key file
/// opens. More of either can be added later with `icecore key add`.
///
/// Without its passphrase or key file an encrypted repository cannot be read by anyone. Keep a
/// copy of it somewhere else.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore init /backup
  head -c 32 /dev/urandom > /root/backup.key
  icecore init --key-file /root/backup.key /backup
  icecore init --parity 5% /backup
  icecore init --plain /backup")]
pub(crate) struct Init {
    /// Folder of the new repository [default: that of -r]
    path: Option<PathBuf>,

    /// No encryption: whoever can read the folder can read the backups
    #[arg(long)]
    plain: bool,

    /// Words that tell the first key from others [default: user@host]
    #[arg(long, value_name = "WORDS", conflicts_with = "plain")]
    label: Option<String>,

    /// Average size of the chunks that files are cut into by content, 4K to 4M; each has a quarter
    /// of it to four times as much. Cannot be changed later
    #[arg(long, value_name = "SIZE", default_value = "64K", value_parser = parse_chunking)]
    #[arg(allow_hyphen_values = true)]
    chunk_size: Chunking,

    /// Parity for each pack, in percent of it, 0.1% to 100%: damage up to that share heals by
    /// itself. `icecore parity` changes it later
    #[arg(long, value_name = "SHARE", value_parser = parity::parse_share)]
    #[arg(allow_hyphen_values = true)]
    parity: Option<u16>,
}

fn parse_chunking(text: &str) -> Result<Chunking, String> {
    let size = units::parse_size(text)?;
    let average = u32::try_from(size).ok().filter(|size| Chunking::AVERAGES.contains(size));
    average.map(Chunking::around).ok_or_else(|| {
        let [least, most] = [Chunking::AVERAGES.start(), Chunking::AVERAGES.end()];
        let [least, most] = [least, most].map(|&size| units::size(u64::from(size)));
        format!("chunks of {text} on average are not possible: {least} to {most}")
    })
}

impl Init {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        let path = match self.path {
            Some(path) => path,
            None => cx.location()?,
        };
        let exists = || RepoError::RepositoryExists { location: path.display().to_string() };
        if path.join("config").exists() {
            return Err(exists().into()); // before a passphrase is asked for
        }
        if self.plain && cx.global.secret.given() > 0 {
            let what = "--plain makes a repository without a key, and a key is given";
            return Err(CliError::usage(what).into());
        }
        let secret = match self.plain {
            true => None,
            false => Some(secrets::initial(&cx.global.secret)?),
        };
        let storage = LocalStorage::create(&path)
            .map_err(|err| if err.is_already_exists() { exists() } else { RepoError::from(err) })?;
        let label = self.label.unwrap_or_else(key::default_label);
        let options = InitOptions { chunking: self.chunk_size, ..InitOptions::default() };
        let config = Repository::init(&storage, secret.as_ref(), &label, options)?;
        let location = storage.root().display().to_string();
        if let Some(permille) = self.parity {
            let repo =
                Repository::open(Arc::new(storage), secret.as_ref(), &OpenOptions::default())?;
            repo.set_parity(permille, &crate::fsutil::machine())?;
        }
        let (id, encrypted) = (config.repository, config.encrypted);
        cx.report(
            || json!({ "repository": id, "location": location, "encrypted": encrypted }),
            || {
                let how = if encrypted { "" } else { ", not encrypted" };
                format!("made repository {id} in {location}{how}\n")
            },
        )?;
        Ok(Exit::Done)
    }
}
