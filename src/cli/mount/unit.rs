//! `icecore mount --print-unit`: a systemd service that mounts.
//!
//! The key does not stand in the unit but is a credential of it, which `secrets` finds by itself.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::Context as _;

use crate::report::text;

use super::super::context::Context;
use super::super::error::CliError;
use super::super::exit::Exit;
use super::super::secrets::{KEY_CREDENTIAL, PASSPHRASE_CREDENTIAL};
use super::{Mount, absolute, bytes};

impl Mount {
    pub(super) fn print_unit(&self, cx: &mut Context) -> anyhow::Result<Exit> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut start = vec![program.clone().into_os_string()];
        start.extend(self.global_arguments(cx)?);
        if let Some(command) = &cx.global.secret.passphrase_command {
            start.extend(["--passphrase-command".into(), command.into()]);
        }
        start.extend(["mount".into(), "--foreground".into()]);
        start.extend(self.arguments()?);
        let point = absolute(&self.mountpoint)?;
        let umount = |options: &[&str]| {
            let mut command = vec![program.clone().into_os_string(), "umount".into()];
            command.extend(options.iter().map(OsString::from));
            command.push(point.clone().into_os_string());
            line(&command)
        };
        let repository = absolute(&cx.location()?)?;
        let (from, to) = (text::escaped(bytes(&repository)), text::escaped(bytes(&point)));
        let unit = format!(
            "[Unit]\n\
             Description=icecore: {} on {}\n\
             Documentation=man:icecore-mount(1)\n\
             RequiresMountsFor={}\n\
             \n\
             [Service]\n\
             Type=notify\n\
             {}\
             ExecStart={}\n\
             ExecStop={}\n\
             ExecStopPost=-{}\n\
             TimeoutStopSec=90\n\
             Restart=on-failure\n\
             \n\
             [Install]\n\
             WantedBy=multi-user.target\n",
            from.replace('%', "%%"),
            to.replace('%', "%%"),
            line(&[repository.into_os_string(), point.clone().into_os_string()])?,
            credential(cx)?,
            line(&start)?,
            umount(&["--wait", "60s", "--lazy"])?,
            umount(&["--quiet", "--lazy"])?,
        );
        cx.out.report(&unit)?;
        Ok(Exit::Done)
    }
}

/// The line that hands the key over.
fn credential(cx: &Context) -> anyhow::Result<String> {
    let secret = &cx.global.secret;
    let load = |name, file: &Path| {
        let file = line(&[absolute(file)?.into_os_string()])?;
        Ok(format!("LoadCredential={name}:{file}\n"))
    };
    match (&secret.key_file, &secret.passphrase_file, &secret.passphrase_command) {
        (Some(file), _, _) => load(KEY_CREDENTIAL, file),
        (_, Some(file), _) => load(PASSPHRASE_CREDENTIAL, file),
        (_, _, Some(_)) => Ok(String::new()),
        (None, None, None) => Ok(format!(
            "# Where the repository is encrypted, a file that only root can read:\n\
             # LoadCredential={PASSPHRASE_CREDENTIAL}:FILE\n"
        )),
    }
}

/// Words as systemd reads them back: systemd.syntax(7), systemd.service(5).
pub(crate) fn line(words: &[OsString]) -> Result<String, CliError> {
    let words = words.iter().map(|word| quoted(word)).collect::<Result<Vec<_>, _>>()?;
    Ok(words.join(" "))
}

fn quoted(word: &OsStr) -> Result<String, CliError> {
    let refuse = || {
        let what = format!("systemd has no way to write {}", text::escaped(word.as_bytes()));
        CliError::failed(what).hint("use names of printable characters")
    };
    let text = word.to_str().filter(|text| !text.chars().any(char::is_control));
    let text = text.ok_or_else(refuse)?.replace('%', "%%").replace('$', "$$");
    let plain = |c: char| c.is_alphanumeric() || "/-_.,:=@%$+~".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return Ok(text);
    }
    Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_as_systemd_reads_them() {
        for (word, written) in [
            ("/mnt/back", "/mnt/back"),
            ("/a b", "\"/a b\""),
            ("50%", "50%%"),
            ("$HOME", "$$HOME"),
            ("a\"b\\", "\"a\\\"b\\\\\""),
            ("", "\"\""),
            ("x;y", "\"x;y\""),
        ] {
            assert_eq!(quoted(OsStr::new(word)).unwrap(), written);
        }
        assert!(quoted(OsStr::new("a\nb")).is_err());
        assert!(quoted(OsStr::from_bytes(b"\xff")).is_err());
    }
}
