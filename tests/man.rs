//! The manual and the completions are what the commands' definitions say.
//!
//! Guards against options that exist and are not documented, and against documented ones that do
//! not exist.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use common::Sandbox;

/// Pages that are written by hand.
const BY_HAND: [&str; 2] = ["icecore-format.5", "icecore.toml.5"];

fn texts(folder: &Path) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for below in ["", "completions/"] {
        for entry in fs::read_dir(folder.join(below)).expect("a folder of pages") {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = format!("{below}{}", path.file_name().unwrap().to_str().unwrap());
                texts.insert(name, fs::read_to_string(path).unwrap());
            }
        }
    }
    texts
}

fn written(sandbox: &Sandbox) -> BTreeMap<String, String> {
    let out = sandbox.path().join("man");
    sandbox.icecore().args(["man", "--quiet", "--out"]).arg(&out).assert().success().stdout("");
    texts(&out)
}

#[test]
fn committed_pages_and_completions_are_current() {
    let sandbox = Sandbox::new();
    let written = written(&sandbox);
    let mut committed = texts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("man"));
    committed.retain(|name, _| !BY_HAND.contains(&name.as_str()));
    let names = |texts: &BTreeMap<String, String>| texts.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&committed), names(&written), "run scripts/man, and remove what is gone");
    for (name, text) in &written {
        assert!(committed[name] == *text, "man/{name} is out of date: run scripts/man");
    }
}

#[test]
fn every_command_has_a_page_with_examples_or_commands() {
    let sandbox = Sandbox::new();
    let written = written(&sandbox);
    let help = sandbox.icecore().arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let listed = help.split("Commands:").nth(1).unwrap().split("\n\n").next().unwrap();
    let mut commands = 0;
    for line in listed.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   ")) {
        let name = line.split_whitespace().next().unwrap();
        if name != "help" {
            commands += 1;
            let page = &written[&format!("icecore-{name}.1")];
            assert!(page.contains(".SH SYNOPSIS") && page.contains(".SH OPTIONS"), "{name}");
        }
    }
    assert!(commands >= 14, "{help}");
    let main = &written["icecore.1"];
    for heading in ["EXIT STATUS", "ENVIRONMENT", "FILES", "NAMES OF SNAPSHOTS", "SEE ALSO"] {
        assert!(main.contains(&format!(".SH \"{heading}\"")), "{heading}");
    }
}

#[test]
fn bash_takes_the_completions() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man/completions/icecore.bash");
    let output = Command::new("bash").arg("-n").arg(path).output().expect("bash runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
