//! `icecore schedule`.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use crate::strategy::file::Strategy;

use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
use super::mount::unit::line;
use super::progress::talk;
use super::secrets::PASSPHRASE_CREDENTIAL;
use super::strategy::FileOption;

/// Minutes between two looks at what is due, of which the largest that fits is taken.
const MINUTES: [u64; 5] = [15, 10, 5, 2, 1];
/// So many looks at least come within each `every` and `rpo`: what is due waits for a quarter of it
/// at most.
const LOOKS: u64 = 4;

/// Have icecore run called regularly
///
/// Writes a systemd service that runs `icecore run`, and a timer that starts it often enough for
/// all schedules of the strategy: a run of which nothing is due reads a few small files. The service
/// yields to everything else on the machine. What it needs of rights is what the strategy asks for:
/// root where root's files are backed up or services are drilled.
///
/// Nothing is enabled by this: what to call is told.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore schedule --print
  icecore schedule && systemctl daemon-reload && systemctl enable --now icecore-run.timer
  icecore schedule --user --file ~/.config/icecore.toml")]
pub(crate) struct Schedule {
    #[command(flatten)]
    file: FileOption,

    /// Write units for systemd, which is the default
    #[arg(long)]
    systemd: bool,

    /// Units of your own service manager, not the system's
    #[arg(long)]
    user: bool,

    /// Only show the units, and a line for crontab(5) for where there is no systemd
    #[arg(long, conflicts_with = "remove")]
    print: bool,

    /// Take the units away
    #[arg(long)]
    remove: bool,

    /// Name of the units
    #[arg(long, value_name = "NAME", default_value = "icecore-run", value_parser = unit_name)]
    unit: String,
}

fn unit_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    match !text.is_empty() && text.len() <= 200 && text.chars().all(plain) && !text.starts_with('.')
    {
        true => Ok(text.to_owned()),
        false => Err(format!("\"{text}\" is no name of a unit; use letters, digits and - _ .")),
    }
}

impl Schedule {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        if self.remove {
            return self.remove(cx);
        }
        let strategy = self.file.read_sound()?;
        let every = interval(&strategy);
        let (service, timer) = (self.service()?, self.timer(every));
        if self.print {
            let crontab = self.crontab(every)?;
            cx.data(
                || json!({ "service": service, "timer": timer, "crontab": crontab }),
                || {
                    let name = &self.unit;
                    format!(
                        "# {name}.service\n{service}\n# {name}.timer\n{timer}\n# or, in a crontab\n\
                         {crontab}\n"
                    )
                },
            )?;
            return Ok(Exit::Done);
        }
        let folder = self.folder()?;
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let mut written = Vec::new();
        for (kind, text) in [("service", service), ("timer", timer)] {
            let path = folder.join(format!("{}.{kind}", self.unit));
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            written.push(path.display().to_string());
        }
        cx.report(
            || json!({ "written": written }),
            || written.iter().map(|path| format!("wrote {path}\n")).collect(),
        )?;
        if !cx.global.quiet && !cx.global.json {
            let systemctl = self.systemctl();
            talk(&format!(
                "  hint: {systemctl} daemon-reload && {systemctl} enable --now {}.timer",
                self.unit
            ));
        }
        Ok(Exit::Done)
    }

    fn remove(&self, cx: &mut Context) -> anyhow::Result<Exit> {
        let folder = self.folder()?;
        let mut removed = Vec::new();
        for kind in ["timer", "service"] {
            let path = folder.join(format!("{}.{kind}", self.unit));
            match fs::remove_file(&path) {
                Ok(()) => removed.push(path.display().to_string()),
                Err(err) if err.kind() == std::io::ErrorKind::NotFound => {}
                Err(err) => {
                    return Err(err).with_context(|| format!("cannot remove {}", path.display()));
                }
            }
        }
        if removed.is_empty() {
            let what = format!("there is no unit {} in {}", self.unit, folder.display());
            return Err(CliError::failed(what).hint("--user and --unit say which").into());
        }
        cx.report(
            || json!({ "removed": removed }),
            || removed.iter().map(|path| format!("removed {path}\n")).collect(),
        )?;
        if !cx.global.quiet && !cx.global.json {
            let systemctl = self.systemctl();
            talk(&format!(
                "  hint: {systemctl} stop {}.timer; {systemctl} daemon-reload",
                self.unit
            ));
        }
        Ok(Exit::Done)
    }

    const fn systemctl(&self) -> &'static str {
        if self.user { "systemctl --user" } else { "systemctl" }
    }

    fn folder(&self) -> Result<PathBuf, CliError> {
        if !self.user {
            return Ok("/etc/systemd/system".into());
        }
        let absolute = |name| {
            std::env::var_os(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute())
        };
        let home = || absolute("HOME").map(|home| home.join(".config"));
        let config = absolute("XDG_CONFIG_HOME").or_else(home);
        config
            .map(|config| config.join("systemd/user"))
            .ok_or_else(|| CliError::failed("there is no folder for your units").hint("set HOME"))
    }

    /// The command that is run, with the strategy file's whole path.
    fn command(&self) -> anyhow::Result<Vec<OsString>> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let file = std::path::absolute(self.file.path()).context("cannot tell the whole path")?;
        let words = [program.as_os_str(), "run".as_ref(), "--quiet".as_ref(), "--file".as_ref()];
        Ok(words.into_iter().map(OsString::from).chain([file.into_os_string()]).collect())
    }

    fn service(&self) -> anyhow::Result<String> {
        let network = match self.user {
            true => "",
            false => "Wants=network-online.target\nAfter=network-online.target\n",
        };
        // A user's manager would set NoNewPrivileges for these.
        let hardening = match self.user {
            true => "",
            false => {
                "# As strict as backups and drills allow: they read all files, mount, make\n\
                 # namespaces, and hand mail to a set-group-ID sendmail.\n\
                 UMask=0077\n\
                 LockPersonality=yes\n\
                 RestrictRealtime=yes\n\
                 ProtectKernelModules=yes\n\
                 ProtectKernelLogs=yes\n\
                 KeyringMode=private\n"
            }
        };
        Ok(format!(
            "[Unit]\n\
             Description=icecore: carry the backup strategy out\n\
             Documentation=man:icecore-run(1) man:icecore.toml(5)\n\
             {network}\
             \n\
             [Service]\n\
             Type=oneshot\n\
             ExecStart={}\n\
             # 3: done, but some files could not be read.\n\
             SuccessExitStatus=3\n\
             StateDirectory=icecore\n\
             CacheDirectory=icecore\n\
             Nice=10\n\
             IOSchedulingClass=idle\n\
             {hardening}\
             # Where a repository is encrypted and the strategy names no key for it:\n\
             # LoadCredential={PASSPHRASE_CREDENTIAL}:FILE\n",
            line(&self.command()?)?,
        ))
    }

    fn timer(&self, minutes: u64) -> String {
        let unit = &self.unit;
        format!(
            "[Unit]\n\
             Description=icecore: look for what is due\n\
             Documentation=man:icecore-schedule(1)\n\
             \n\
             [Timer]\n\
             OnCalendar=*:0/{minutes}\n\
             RandomizedDelaySec={}s\n\
             AccuracySec=5s\n\
             Persistent=true\n\
             Unit={unit}.service\n\
             \n\
             [Install]\n\
             WantedBy=timers.target\n",
            minutes * 12,
        )
    }

    fn crontab(&self, minutes: u64) -> anyhow::Result<String> {
        let words = self.command()?;
        let words: Option<Vec<String>> =
            words.iter().map(|word| word.to_str().map(for_crontab)).collect();
        let words = words.ok_or_else(|| {
            CliError::failed("a crontab has no way to write the strategy file's path")
        })?;
        Ok(format!("*/{minutes} * * * * {}", words.join(" ")))
    }
}

/// A word for sh in a crontab, where `%` ends the command.
fn for_crontab(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.,:=@+".contains(c);
    let quoted = match word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    };
    quoted.replace('%', "\\%")
}

/// Minutes between two looks.
fn interval(strategy: &Strategy) -> u64 {
    let sources = strategy.sources.values().flat_map(|source| [source.every, source.rpo]);
    let drills = strategy.drills.values().map(|drill| drill.every);
    let least = sources.chain(drills).flatten().map(|span| span.0).min();
    let most = least.unwrap_or(Duration::MAX).as_secs() / 60 / LOOKS;
    MINUTES.into_iter().find(|minutes| *minutes <= most).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_come_four_times_within_each_span() {
        for (every, minutes) in
            [("30d", 15), ("1h", 15), ("59min", 10), ("20min", 5), ("5min", 1), ("10s", 1)]
        {
            let text = format!("[sources.a]\npaths = [\"/a\"]\nevery = \"{every}\"\n");
            assert_eq!(interval(&Strategy::parse(&text).unwrap()), minutes, "{every}");
        }
    }

    #[test]
    fn words_of_a_crontab_are_one_word_to_the_shell() {
        assert_eq!(for_crontab("/a/b.toml"), "/a/b.toml");
        assert_eq!(for_crontab("/a b%'c"), "'/a b\\%'\\''c'");
        assert!(unit_name("../x").is_err() && unit_name("a b").is_err());
    }
}
