//! What a command has at hand: the global options, standard output, interruption, the repository.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::repo::{OpenOptions, RepoError, Repository, Secret};
use crate::report::json::document;
use crate::storage::{LimitedStorage, Limits, LocalStorage, Storage};

use super::error::CliError;
use super::global::GlobalOptions;
use super::output::Output;
use super::progress::Bar;
use super::secrets;
use super::signals::{EndsAtOnce, Interrupt};

/// What a command has at hand.
pub(crate) struct Context {
    /// The global options.
    pub global: GlobalOptions,
    /// Standard output.
    pub out: Output,
    /// Set by the first SIGINT or SIGTERM.
    pub interrupt: Interrupt,
}

/// A repository with the secret that opened it.
pub(crate) struct Opened {
    /// The repository.
    pub repo: Repository,
    /// What opened it; `None` without encryption.
    pub secret: Option<Secret>,
}

impl Context {
    /// The repository's folder, or a usage error.
    pub(crate) fn location(&self) -> Result<PathBuf, CliError> {
        match &self.global.repository {
            Some(path) if !path.as_os_str().is_empty() => Ok(path.clone()),
            _ => Err(CliError::usage("no repository given")
                .hint("name it with -r PATH or ICECORE_REPOSITORY")),
        }
    }

    /// Opens the repository, asking for its passphrase where need be. A signal ends the program
    /// until it is open; from then on signals only set the flag.
    pub(crate) fn open(&self) -> anyhow::Result<Opened> {
        self.open_as(&self.open_options())
    }

    fn open_as(&self, options: &OpenOptions) -> anyhow::Result<Opened> {
        let path = self.location()?;
        let secret = self.secret()?;
        let ending = EndsAtOnce::begin(self.global.json)?;
        let repo = self.open_with(&path, secret.as_ref(), options)?;
        self.interrupt.install()?;
        drop(ending);
        Ok(Opened { repo, secret })
    }

    /// How repositories are opened unless a command has reasons of its own.
    pub(crate) fn open_options(&self) -> OpenOptions {
        OpenOptions { cache: self.global.cache(), ..OpenOptions::default() }
    }

    /// The same for commands that need the secret no longer.
    pub(crate) fn repository(&self) -> anyhow::Result<Repository> {
        Ok(self.open()?.repo)
    }

    /// The same, opened with other options.
    pub(crate) fn repository_with(&self, options: OpenOptions) -> anyhow::Result<Repository> {
        Ok(self.open_as(&options)?.repo)
    }

    /// The secret of the repository; `None` where it needs none, or none can be had.
    pub(crate) fn secret(&self) -> anyhow::Result<Option<Secret>> {
        let path = self.location()?;
        let read = || -> Result<_, RepoError> {
            let storage = local_storage(&path)?;
            Ok((Repository::read_config(&storage)?.config.encrypted, storage.location()))
        };
        match read().map_err(|err| in_repository(err, &path))? {
            (true, location) => secrets::existing(&self.global.secret, &location),
            // Handed on all the same: a config that says "plain" against a key is refused.
            (false, _) => secrets::stated(&self.global.secret),
        }
    }

    /// Opens the repository with a secret that is at hand already.
    pub(crate) fn open_with(
        &self,
        path: &Path,
        secret: Option<&Secret>,
        options: &OpenOptions,
    ) -> anyhow::Result<Repository> {
        let open = || Repository::open(self.storage(path)?, secret, options);
        open().map_err(|err| in_repository(err, path))
    }

    /// The folder, with the limits that the user set.
    fn storage(&self, path: &Path) -> Result<Arc<dyn Storage>, RepoError> {
        let storage = local_storage(path)?;
        let limits =
            Limits { upload: self.global.limit_upload, download: self.global.limit_download };
        if limits == Limits::default() {
            return Ok(Arc::new(storage));
        }
        Ok(Arc::new(LimitedStorage::new(storage, limits, self.interrupt.shared())))
    }

    /// Progress for a verb.
    pub(crate) fn bar(&self, verb: &'static str) -> Bar {
        Bar::new(verb, self.global.quiet, self.global.json)
    }

    /// Prints a report: as JSON, in words, or not at all, as the flags say.
    pub(crate) fn report(
        &mut self,
        json: impl FnOnce() -> Value,
        text: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        if self.global.json {
            self.out.report(&format!("{}\n", document(json())))?;
        } else if !self.global.quiet {
            self.out.report(&text())?;
        }
        Ok(())
    }

    /// Prints data, which `--quiet` does not suppress.
    pub(crate) fn data(
        &mut self,
        json: impl FnOnce() -> Value,
        text: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        match self.global.json {
            true => self.out.report(&format!("{}\n", document(json())))?,
            false => self.out.report(&text())?,
        }
        Ok(())
    }
}

/// The storage in a folder, or that there is no repository.
pub(crate) fn local_storage(path: &Path) -> Result<LocalStorage, RepoError> {
    LocalStorage::open(path).map_err(|err| match err.is_not_found() {
        true => RepoError::NoRepository { location: path.display().to_string() },
        false => err.into(),
    })
}

/// Adds which repository, unless the error says so itself.
fn in_repository(err: RepoError, path: &Path) -> anyhow::Error {
    use RepoError as E;
    match err {
        E::NoRepository { .. }
        | E::ConfigMissing { .. }
        | E::KeyNeeded { .. }
        | E::NotEncrypted { .. }
        | E::WrongKey { .. } => err.into(),
        err => {
            anyhow::Error::new(err).context(format!("cannot open repository {}", path.display()))
        }
    }
}
