//! `icecore man`: the manual, made from the definitions of the commands.
//!
//! `scripts/man` writes it to `man/`, and `tests/man.rs` tells when that is out of date. Options
//! come from clap; what no option says (exit codes, environment, names of snapshots) is here.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use clap_mangen::roff::{Roff, bold, roman};
use serde_json::json;

use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
use super::manual_output;
use super::mount::{manual, manual_views};
use super::{Cli, completions};

/// Write the man pages and completions
///
/// One page per command, and completions for bash, zsh and fish below completions/.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore man | man -l -
  icecore man --out /usr/local/share/man/man1")]
pub(crate) struct Man {
    /// Folder to write all of them to [default: icecore.1 to standard output]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Man {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        let files = files()?;
        let Some(folder) = self.out else {
            let page = files.iter().find(|(name, _)| name == "icecore.1");
            cx.out.report(page.map_or("", |(_, text)| text))?;
            return Ok(Exit::Done);
        };
        let completions = folder.join("completions");
        let make = || format!("cannot make {}", completions.display());
        std::fs::create_dir_all(&completions).with_context(make)?;
        for (name, text) in &files {
            let path = folder.join(name);
            let write = || format!("cannot write {}", path.display());
            std::fs::write(&path, text).with_context(write)?;
        }
        let names: Vec<_> = files.iter().map(|(name, _)| name).collect();
        cx.report(
            || json!({ "files": names }),
            || format!("wrote {} files to {}\n", names.len(), folder.display()),
        )?;
        Ok(Exit::Done)
    }
}

/// Every file of `man/` that is made from code: name and text.
fn files() -> anyhow::Result<Vec<(String, String)>> {
    let mut root = Cli::command();
    root.build();
    let mut files = Vec::new();
    let pages = names_below(&root, "icecore");
    command_pages(&root, &pages, &mut files)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        files.push((format!("completions/{}", completion_name(shell)), completions::script(shell)));
    }
    Ok(files)
}

/// What a shell looks for.
fn completion_name(shell: Shell) -> &'static str {
    match shell {
        Shell::Zsh => "_icecore",
        Shell::Fish => "icecore.fish",
        _ => "icecore.bash",
    }
}

/// Names of the pages of a command and all below it, `help` left out.
fn names_below(command: &clap::Command, name: &str) -> Vec<String> {
    let mut names = vec![name.to_owned()];
    for below in shown(command) {
        names.extend(names_below(below, &format!("{name}-{}", below.get_name())));
    }
    names
}

fn shown(command: &clap::Command) -> impl Iterator<Item = &clap::Command> {
    command.get_subcommands().filter(|below| below.get_name() != "help" && !below.is_hide_set())
}

fn command_pages(
    command: &clap::Command,
    all: &[String],
    files: &mut Vec<(String, String)>,
) -> anyhow::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    files.push((format!("{name}.1"), page(command, &name, all)?));
    for below in shown(command) {
        command_pages(below, all, files)?;
    }
    Ok(())
}

fn page(command: &clap::Command, name: &str, all: &[String]) -> anyhow::Result<String> {
    let man = clap_mangen::Man::new(command.clone())
        .title(name.to_uppercase())
        .section("1")
        .source(concat!("icecore ", env!("CARGO_PKG_VERSION")))
        .manual("icecore manual");
    let mut bytes = Vec::new();
    man.render_title(&mut bytes)?;
    man.render_name_section(&mut bytes)?;
    man.render_synopsis_section(&mut bytes)?;
    man.render_description_section(&mut bytes)?;
    man.render_options_section(&mut bytes)?;
    if command.has_subcommands() {
        commands_section(command, name).to_writer(&mut bytes)?;
    }
    let mut text = String::from_utf8(bytes).map_err(|_| CliError::failed("page is not text"))?;
    if let Some(examples) = command.get_after_long_help() {
        examples_section(&mut text, &examples.to_string());
    }
    match name {
        "icecore" => general_sections(&mut text),
        "icecore-mount" => {
            sections(&mut text, manual_views::MOUNT);
            sections(&mut text, manual::MOUNT);
        }
        "icecore-umount" => sections(&mut text, manual::UMOUNT),
        _ => {}
    }
    if let Some(section) = manual_output::section(name) {
        sections(&mut text, std::slice::from_ref(section));
    }
    see_also(&mut text, name, all);
    Ok(text)
}

/// A section that no option says.
pub(crate) struct Section {
    /// In capitals.
    pub(crate) heading: &'static str,
    /// What stands in it.
    pub(crate) parts: &'static [Part],
}

/// A part of a section.
pub(crate) enum Part {
    /// A paragraph.
    Text(&'static str),
    /// Lines as they are to be typed.
    Code(&'static str),
}

fn sections(out: &mut String, sections: &[Section]) {
    for section in sections {
        let _ = writeln!(out, ".SH \"{}\"", section.heading);
        for (at, part) in section.parts.iter().enumerate() {
            if at > 0 {
                out.push_str(".PP\n");
            }
            match part {
                Part::Text(text) => {
                    let _ = writeln!(out, "{}", escaped(text));
                }
                Part::Code(text) => {
                    out.push_str(".nf\n");
                    for line in text.lines() {
                        let _ = writeln!(out, "{}", escaped(line));
                    }
                    out.push_str(".fi\n");
                }
            }
        }
    }
}

fn commands_section(command: &clap::Command, name: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["COMMANDS"]);
    for below in shown(command) {
        roff.control("TP", []);
        roff.text([bold(format!("{name}-{}", below.get_name())), roman("(1)")]);
        roff.text([roman(below.get_about().map(ToString::to_string).unwrap_or_default())]);
    }
    roff
}

fn examples_section(out: &mut String, text: &str) {
    out.push_str(".SH EXAMPLES\n.nf\n");
    for line in text.lines().filter(|line| *line != "Examples:") {
        let _ = writeln!(out, "{}", escaped(line.trim_start()));
    }
    out.push_str(".fi\n");
}

/// Text as roff reads it: no line is a request, no dash a hyphen.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

fn definitions(out: &mut String, heading: &str, entries: &[(&str, &str)]) {
    let _ = writeln!(out, ".SH \"{heading}\"");
    for (term, text) in entries {
        let _ = writeln!(out, ".TP\n\\fB{}\\fR\n{}", escaped(term), escaped(text));
    }
}

fn general_sections(out: &mut String) {
    definitions(out, "NAMES OF SNAPSHOTS", NAMES);
    paragraphs(out, "OUTPUT", OUTPUT);
    paragraphs(out, "KEYS", KEYS);
    let codes = Exit::ALL.map(|exit| (exit.code().to_string(), exit.meaning()));
    let codes: Vec<_> = codes.iter().map(|(code, meaning)| (code.as_str(), *meaning)).collect();
    definitions(out, "EXIT STATUS", &codes);
    definitions(out, "ENVIRONMENT", ENVIRONMENT);
    definitions(out, "FILES", FILES);
}

fn paragraphs(out: &mut String, heading: &str, text: &[&str]) {
    let _ = writeln!(out, ".SH {heading}");
    for (at, paragraph) in text.iter().enumerate() {
        if at > 0 {
            out.push_str(".PP\n");
        }
        let _ = writeln!(out, "{}", escaped(paragraph));
    }
}

fn see_also(out: &mut String, name: &str, all: &[String]) {
    let near = |other: &&String| {
        let parent = name.rsplit_once('-').map_or("", |(parent, _)| parent);
        let below = |of: &str| other.strip_prefix(of).is_some_and(|rest| rest.starts_with('-'));
        *other != name && (other.as_str() == parent || name == "icecore" || below(name))
    };
    let mut pages: Vec<_> = all.iter().filter(near).map(|page| format!("{page}(1)")).collect();
    pages.push("icecore-format(5)".into());
    let _ = writeln!(out, ".SH \"SEE ALSO\"\n{}", escaped(&pages.join(", ")));
}

const NAMES: &[(&str, &str)] = &[
    (
        "latest, latest~N",
        "The newest snapshot, and the Nth before it. Where one that cannot be read may be newer, \
         nothing older is taken for it: the command ends with exit code 4 and names it. So does a \
         day, an hour or a minute.",
    ),
    ("4f1c2a3b", "The start of an id, 4 digits and more, as long as it fits one snapshot only."),
    (
        "2026-11-22, 2026-11-22T15, 2026-11-22T15:04, 2026-11-22T15:04:05",
        "The newest snapshot of that day, hour, minute or second in the local time zone.",
    ),
    (
        "SNAP:/path",
        "A path in a snapshot, wherever a snapshot can be named. A snapshot shows its sources at \
         their absolute paths.",
    ),
];

const OUTPUT: &[&str] = &[
    "Standard output is data, standard error is talk: messages, and progress on a terminal. \
     A reader that closes standard output early is no error.",
    "With --json a command prints its report as one JSON document; ls and find print one document \
     per line and entry. Each has \"schema\": 1, and under that number fields are only ever added. \
     Sizes are bytes, times RFC 3339 in UTC, durations seconds. A path or name is a string where \
     it is UTF-8, and an object with \"bytes_hex\" where it is not. Errors are one JSON document \
     on standard error with message, hint and exit_code; errors of the command line itself stay \
     text. cat writes its report to standard error.",
    "A command that takes something away for good (forget, prune, repair, key remove) shows its plan \
     and asks first. --yes does not ask, --dry-run ends after the plan, and where there is neither a \
     terminal nor --yes, or --json without --yes, nothing is done and the exit code is 2. What the \
     same command can take back (tag, protect, unprotect, parity, forget --undo) is done unasked; \
     --dry-run tells it before.",
    "Names are raw bytes. On a terminal, and in tables and messages, control characters, \
     backslashes and bytes that are not UTF-8 are shown as \\xNN and \\\\; ls and find write them \
     as they are to a pipe or file, and --print0 ends them by NUL instead of a newline.",
];

const KEYS: &[&str] = &[
    "An encrypted repository is opened by a passphrase or a key file. A flag says which \
     (--key-file, --passphrase-file, --passphrase-command); else the environment does, the first \
     variable that is set of ICECORE_PASSPHRASE, ICECORE_PASSPHRASE_FILE, ICECORE_KEY_FILE and \
     ICECORE_PASSPHRASE_COMMAND; else a credential of the systemd service that is called \
     icecore.key or icecore.passphrase; else the passphrase is asked for on the terminal. A \
     passphrase command has two minutes. One newline at the end of a passphrase is cut, an empty one is refused. A key file counts whole and has at \
     least 16 bytes.",
];

const ENVIRONMENT: &[(&str, &str)] = &[
    ("ICECORE_REPOSITORY", "The repository, where -r is not given."),
    ("ICECORE_PASSPHRASE", "The passphrase. Other processes of the same user can read it."),
    ("ICECORE_PASSPHRASE_FILE", "As --passphrase-file."),
    ("ICECORE_KEY_FILE", "As --key-file."),
    ("ICECORE_PASSPHRASE_COMMAND", "As --passphrase-command."),
    ("ICECORE_TO_REPOSITORY", "The repository that replicate copies to, where --to is not given."),
    (
        "ICECORE_TO_PASSPHRASE, ICECORE_TO_PASSPHRASE_FILE, ICECORE_TO_KEY_FILE, \
         ICECORE_TO_PASSPHRASE_COMMAND",
        "The secret of that one, where it is not the same.",
    ),
    (
        "CREDENTIALS_DIRECTORY",
        "Where systemd puts credentials; icecore.key and icecore.passphrase there are keys.",
    ),
    (
        "NOTIFY_SOCKET",
        "Where mount --foreground and replicate --continuous tell systemd that they are ready and \
         what they do.",
    ),
    ("ICECORE_NEW_PASSPHRASE", "The new passphrase of key add and key passwd."),
    ("ICECORE_CACHE_DIR", "The cache folder, where --cache-dir is not given."),
    (
        "ICECORE_RUNTIME_DIR",
        "Where captures note what they switch off at a store, so that the next run switches it on \
         again where one was killed: /run/icecore, or $XDG_RUNTIME_DIR/icecore for other users.",
    ),
    (
        "ICECORE_LOG",
        "What is logged to standard error, like debug or icecore::repo=trace; outdoes --verbose \
         and --quiet.",
    ),
    ("XDG_CACHE_HOME, HOME", "Where the default cache folder is."),
    ("TZ", "The time zone of times that are shown and named."),
];

const FILES: &[(&str, &str)] = &[
    (
        "~/.cache/icecore/<repository id>",
        "Opened index segments. They are sealed in the repository and plain here; they hold ids \
         and places of chunks, no names and no content. Can be deleted at any time. Root without \
         HOME uses /var/cache/icecore.",
    ),
    ("/etc/icecore/icecore.toml", "The strategy: icecore.toml(5)."),
    (
        "/var/lib/icecore/*.lock",
        "Held by `icecore run` while it carries a strategy out; below $STATE_DIRECTORY where systemd \
         sets it, and below ~/.local/state/icecore for other users than root.",
    ),
    (
        ".icecoreignore",
        "In a directory of a source: patterns, as in gitignore, of what ingest leaves out there \
         and below.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_of_the_command_line_are_consistent() {
        Cli::command().debug_assert();
    }

    /// Else clap takes a negative value for an unknown option, and advises to make it a path.
    #[test]
    fn numbers_and_sizes_may_begin_with_a_dash_to_be_refused_as_such() {
        fn check(command: &clap::Command) {
            let counts = |arg: &&clap::Arg| {
                let names = arg.get_value_names().unwrap_or_default();
                names.iter().any(|name| ["N", "SIZE"].contains(&name.as_str()))
            };
            for arg in command.get_arguments().filter(counts) {
                let id = arg.get_id();
                assert!(arg.is_allow_hyphen_values_set(), "{} {id}", command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }

    #[test]
    fn every_secret_variable_is_in_the_manual() {
        use super::super::secrets;
        let terms: Vec<&str> = ENVIRONMENT.iter().flat_map(|(term, _)| term.split(", ")).collect();
        for name in secrets::ENVIRONMENT.into_iter().chain(secrets::TO_ENVIRONMENT) {
            assert!(terms.contains(&name), "{name}");
        }
    }

    #[test]
    fn roff_requests_cannot_come_from_text() {
        assert_eq!(escaped(".SH x-y \\"), "\\&.SH x\\-y \\e");
    }
}
