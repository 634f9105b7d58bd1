//! What a command has at hand: the global options, standard output, interruption, the repository.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::repo::{OpenOptions, RepoError, Repository, Secret};
use crate::report::json::document;
use crate::storage::{LimitedStorage, Limits, LocalStorage, Storage};
use crate::strategy::file::Repository as Place;

use super::error::CliError;
use super::global::{GlobalOptions, SecretOptions};
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
    /// Set by the first SIGINT or SIGTERM, or by SIGHUP.
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
        self.open_at(&self.location()?, &self.global.secret, options)
    }

    /// Opens one of the strategy's repositories, with the secret that the strategy names, else with
    /// that of the flags or the environment.
    pub(crate) fn open_place(&self, place: &Place) -> anyhow::Result<Opened> {
        let named = SecretOptions::from(place);
        let secret = if named.given() == 0 { &self.global.secret } else { &named };
        self.open_at(Path::new(&place.url), secret, &self.open_options())
    }

    /// Opens the repository that is copied to: with its own secret where one is given, else with
    /// that which opened the one that is copied from, else with one that is asked for.
    pub(crate) fn open_to(
        &self,
        path: &Path,
        own: Option<Secret>,
        same: Option<&Secret>,
    ) -> anyhow::Result<Repository> {
        let config = local_storage(path).and_then(|storage| Repository::read_config(&storage));
        let encrypted = config.map_err(|err| in_repository(err, path))?.config.encrypted;
        let options = self.open_options();
        let has_own = own.is_some();
        let secret = own.as_ref().or(same.filter(|_| encrypted));
        let asked = match (encrypted, secret) {
            (true, None) => secrets::asked(&path.display().to_string())?,
            _ => None,
        };
        let opened = self.open_with(path, secret.or(asked.as_ref()), &options);
        let wrong = |err: &anyhow::Error| {
            matches!(err.downcast_ref(), Some(RepoError::WrongKey { .. })) && !has_own
        };
        match opened {
            Err(err) if wrong(&err) && secret.is_some() => {
                match secrets::asked(&path.display().to_string())? {
                    None => Err(err),
                    asked => self.open_with(path, asked.as_ref(), &options),
                }
            }
            opened => opened,
        }
    }

    fn open_at(
        &self,
        path: &Path,
        secret: &SecretOptions,
        options: &OpenOptions,
    ) -> anyhow::Result<Opened> {
        let secret = secret_of(path, secret)?;
        let ending = EndsAtOnce::begin(self.global.json)?;
        let repo = self.open_with(path, secret.as_ref(), options)?;
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

    /// The same for a command that may be a dry run: that one changes nothing, also no damaged pack
    /// that parity heals.
    pub(crate) fn repository_for(&self, dry_run: bool) -> anyhow::Result<Repository> {
        let repo = self.repository()?;
        if dry_run {
            repo.set_read_only();
        }
        Ok(repo)
    }

    /// The same, opened with other options.
    pub(crate) fn repository_with(&self, options: OpenOptions) -> anyhow::Result<Repository> {
        Ok(self.open_as(&options)?.repo)
    }

    /// The secret of the repository; `None` where it needs none, or none can be had.
    pub(crate) fn secret(&self) -> anyhow::Result<Option<Secret>> {
        secret_of(&self.location()?, &self.global.secret)
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

    /// Prints the plan of what is about to be asked: whoever is asked sees what about, also with
    /// `--quiet`.
    pub(crate) fn show_plan(
        &mut self,
        yes: bool,
        text: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        if self.shows_plan(yes) {
            self.out.report(&text())?;
        }
        Ok(())
    }

    /// Whether [`Self::show_plan`] prints it.
    pub(crate) const fn shows_plan(&self, yes: bool) -> bool {
        !(self.global.json || self.global.quiet && yes)
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

/// The secret of the repository in a folder; `None` where it needs none, or none can be had.
fn secret_of(path: &Path, options: &SecretOptions) -> anyhow::Result<Option<Secret>> {
    let read = || -> Result<_, RepoError> {
        let storage = local_storage(path)?;
        Ok((Repository::read_config(&storage)?.config.encrypted, storage.location()))
    };
    match read().map_err(|err| in_repository(err, path))? {
        (true, location) => secrets::existing(options, &location),
        // Handed on all the same: a config that says "plain" against a key is refused.
        (false, _) => secrets::stated(options),
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
