//! Repositories and notifications of the strategy file.

use serde::Deserialize;

use super::value::Words;

/// Where snapshots are kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Repository {
    /// The folder.
    pub url: String,
    /// Class of the medium, like `disk`, `ssd`, `tape` or `object`: two copies on one class are one
    /// medium.
    pub media: String,
    /// Where it stands, like `berlin`.
    pub site: Option<String>,
    /// Whether what burns down the sources' site leaves it whole.
    #[serde(default)]
    pub offsite: bool,
    /// Whether nobody can delete from it: it is then neither pruned nor forgotten in.
    #[serde(default)]
    pub immutable: bool,
    /// A file with its key.
    pub key_file: Option<String>,
    /// A file with its passphrase.
    pub passphrase_file: Option<String>,
    /// A command that prints its passphrase.
    pub passphrase_command: Option<String>,
}

/// When to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotifyOn {
    /// A part of a run failed, or a target is missed.
    Failure,
    /// Something at a source could not be taken.
    Partial,
    /// The first run that is well after one that was not.
    Recovery,
    /// Every run.
    Always,
}

/// Who is told, by exactly one way.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Notify {
    /// When; on failure, partial and recovery where nothing is said.
    #[serde(default = "all_but_always")]
    pub on: Vec<NotifyOn>,
    /// A command; the report comes as JSON on its standard input.
    pub command: Option<Words>,
    /// An address that takes the report by HTTP POST as JSON.
    pub webhook: Option<Webhook>,
    /// A mail, through sendmail.
    pub email: Option<Mail>,
}

fn all_but_always() -> Vec<NotifyOn> {
    vec![NotifyOn::Failure, NotifyOn::Partial, NotifyOn::Recovery]
}

/// An address that is posted to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Webhook {
    /// `http://` or `https://`.
    pub url: String,
}

/// A mail.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Mail {
    /// Who gets it.
    pub to: Vec<String>,
    /// Who it is from; sendmail's default where nothing is said.
    pub from: Option<String>,
    /// The program that takes it, called with `-t -i`; `/usr/sbin/sendmail` where nothing is said.
    pub sendmail: Option<String>,
}
