//! `icecore strategy check`: what it says of a sound file, of a doubtful one, and of a wrong one.

mod common;

use std::fs;

use common::Sandbox;
use serde_json::Value;

/// The examples of icecore.toml(5) that are whole files.
fn examples() -> Vec<String> {
    let page = include_str!("../man/icecore.toml.5").split(".Sh EXAMPLES").nth(1).unwrap();
    let blocks = page.split(".Bd -literal\n").skip(1);
    let texts = blocks.map(|block| block.split("\n.Ed").next().unwrap().to_owned());
    texts.filter(|text| text.starts_with("[repositories")).collect()
}

#[test]
fn every_example_of_the_manual_is_sound() {
    let sandbox = Sandbox::plain();
    let all = examples();
    assert_eq!(all.len(), 2);
    for text in &all {
        fs::write(sandbox.path().join("s.toml"), text).unwrap();
        let check = ["--json", "strategy", "check", "--file", "s.toml"];
        let output = sandbox.icecore().args(check).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(value["problems"], Value::Array(Vec::new()), "{text}");
    }
    // Each shape that a drill's services and checks can have is shown.
    let shapes = [
        "ready.tcp",
        "ready.command",
        "ready = { unix",
        "ready = { http",
        "manifest =",
        "http =",
        "json =",
        "body =",
        "golden =",
        "cosine =",
        "sqlite =",
        "postgres =",
        "min =",
        "fresh =",
        "structure =",
        "command =",
        "sample =",
        "stop-signal =",
        "environment =",
        "after =",
    ];
    let missing: Vec<_> = shapes.into_iter().filter(|shape| !all[1].contains(shape)).collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn the_manual_s_example_is_sound_and_explained() {
    let sandbox = Sandbox::plain();
    fs::write(sandbox.path().join("icecore.toml"), &examples()[0]).unwrap();
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
    fs::write(&file, examples()[0].replace("copies = 2", "copies = 3")).unwrap();
    let output = check();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("warning: line 12: sources.models: the target copies = 3 cannot be met"),
        "{said}"
    );

    fs::write(&file, examples()[0].replace("\"far\"]", "\"near\"]")).unwrap();
    let output = check();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let told = "line 12: sources.models: there is no repository near";
    assert!(said.contains(&format!("error: {told}")), "{said}");
    let run = sandbox.icecore().args(["run", "--file", "s.toml"]).output().unwrap();
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(said.contains("s.toml: line 20: sources.features: there is no"), "{said}");
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
