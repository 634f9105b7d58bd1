//! `icecore strategy check`: what it says of a sound file, of a doubtful one, and of a wrong one.

mod common;

use std::fs;

use common::Sandbox;
use serde_json::Value;

/// The example of icecore.toml(5).
fn example() -> String {
    let page = include_str!("../man/icecore.toml.5");
    let start = page.split(".Sh EXAMPLES\n.Bd -literal\n").nth(1).unwrap();
    start.split("\n.Ed").next().unwrap().to_owned()
}

#[test]
fn the_manual_s_example_is_sound_and_explained() {
    let sandbox = Sandbox::plain();
    fs::write(sandbox.path().join("icecore.toml"), example()).unwrap();
    let check = ["strategy", "check", "--file", "icecore.toml"];
    let output = sandbox.icecore().args(check).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("the strategy is sound"), "{said}");
    assert!(said.contains("every 6h") || said.contains("every 6 h"), "{said}");
    assert!(said.contains("7 last, 30 daily, 12 monthly"), "{said}");

    let output = sandbox.icecore().arg("--json").args(check).output().unwrap();
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["problems"], Value::Array(Vec::new()));
    assert_eq!(value["sources"][1]["repositories"], serde_json::json!(["local", "far"]));
    assert_eq!(value["sources"][1]["rpo_s"], 43_200);
    assert!(value["sources"][0]["next"].is_string(), "{value}");
}

#[test]
fn warnings_are_no_failure_and_errors_are() {
    let sandbox = Sandbox::plain();
    let file = sandbox.path().join("s.toml");
    let check =
        || sandbox.icecore().args(["strategy", "check", "--file", "s.toml"]).output().unwrap();
    fs::write(&file, example().replace("copies = 2", "copies = 3")).unwrap();
    let output = check();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("warning: sources.models: the target copies = 3 cannot be met"),
        "{said}"
    );

    fs::write(&file, example().replace("\"far\"]", "\"near\"]")).unwrap();
    let output = check();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("error: sources.models: there is no repository near"), "{said}");
}

#[test]
fn a_file_that_does_not_read_is_one_line_and_a_hint() {
    let sandbox = Sandbox::plain();
    let missing =
        sandbox.icecore().args(["strategy", "check", "--file", "none.toml"]).output().unwrap();
    let said = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert_eq!(missing.status.code(), Some(1));
    assert!(said.contains("cannot read none.toml") && said.contains("ICECORE_STRATEGY"), "{said}");

    fs::write(sandbox.path().join("s.toml"), "[sources.a]\npathes = [\"/a\"]\n").unwrap();
    let output =
        sandbox.icecore().args(["strategy", "check", "--file", "s.toml"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("line 2") && said.contains("pathes"), "{said}");
}
