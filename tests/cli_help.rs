//! The whole help as a golden file, so that no option changes unnoticed.

mod common;

use common::Sandbox;

fn help(sandbox: &Sandbox, command: &[&str]) -> String {
    let output = sandbox.icecore().env("COLUMNS", "100").args(command).arg("--help").output();
    let output = output.unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    String::from_utf8(output.stdout).unwrap()
}

fn commands(help: &str) -> Vec<String> {
    let Some((_, list)) = help.split_once("Commands:\n") else { return Vec::new() };
    let list = list.split("\n\n").next().unwrap();
    let names = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

/// The options that every command repeats are shown once.
fn own_part(help: &str) -> String {
    let Some((own, rest)) = help.split_once("Global options:\n") else { return help.to_owned() };
    let examples = rest.find("\nExamples:").map_or("", |at| &rest[at..]);
    format!("{own}(global options)\n{examples}")
}

#[test]
fn help_is_the_golden_one() {
    let sandbox = Sandbox::new();
    let main = help(&sandbox, &[]);
    let mut whole = format!("$ icecore --help\n{main}");
    for name in commands(&main) {
        let text = help(&sandbox, &[&name]);
        whole += &format!("\n\n$ icecore {name} --help\n{}", own_part(&text));
        for below in commands(&text) {
            let text = help(&sandbox, &[&name, &below]);
            whole += &format!("\n\n$ icecore {name} {below} --help\n{}", own_part(&text));
        }
    }
    insta::assert_snapshot!("help", whole);
}

#[test]
fn version_and_short_help_go_to_stdout() {
    let sandbox = Sandbox::new();
    let version = concat!("icecore ", env!("CARGO_PKG_VERSION"), "\n");
    sandbox.icecore().arg("--version").assert().success().stdout(version).stderr("");
    sandbox.icecore().args(["ls", "-h"]).assert().success().stderr("");
}
