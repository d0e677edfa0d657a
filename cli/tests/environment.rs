//! Variables of the environment that say nothing, and those that an option goes before.
//!
//! Nobody listens on the port that is asked (RFC 863), so a command that got past its arguments
//! ends with 69. Invariant: a variable that is set to nothing is as if it was not set. Not
//! promised: variables that other programs read.

#![forbid(unsafe_code)]

use std::process::{Command, Output};

const NOBODY: &str = "http://127.0.0.1:9";

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_towline"));
    command.args(arguments).env("COLUMNS", "100");
    for name in [
        "TOWLINE_URL",
        "TOWLINE_CA_FILE",
        "TOWLINE_TOKEN",
        "TOWLINE_LINK_SPEED",
    ] {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied());
    command
        .output()
        .unwrap_or_else(|why| panic!("towline cannot be started: {why}"))
}

fn ends_with(output: &Output, code: i32) {
    let why = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{why}");
}

#[test]
fn a_variable_that_is_set_to_nothing_is_not_set() {
    for name in [
        "TOWLINE_CA_FILE",
        "TOWLINE_TOKEN",
        "TOWLINE_LINK_SPEED",
        "HF_TOKEN",
    ] {
        for verb in [&["status"][..], &["models"], &["gc"]] {
            let words = [verb, &["--node", NOBODY]].concat();
            ends_with(&run(&words, &[(name, "")]), 69);
        }
    }
    // An address that is not set is this host, whether a node is there or not.
    let output = run(&["status"], &[("TOWLINE_URL", "")]);
    assert!(matches!(output.status.code(), Some(0 | 69)), "{output:?}");
    ends_with(&run(&["status"], &[("TOWLINE_URL", NOBODY)]), 69);
    ends_with(&run(&["status"], &[("TOWLINE_URL", "ftp://x")]), 64);
    let output = run(&["tune", "check"], &[("TOWLINE_LINK_SPEED", "")]);
    assert!(matches!(output.status.code(), Some(0..=2)), "{output:?}");
    ends_with(
        &run(&["tune", "check"], &[("TOWLINE_LINK_SPEED", "fast")]),
        64,
    );
}

#[test]
fn a_file_with_a_token_goes_before_the_variable_and_not_beside_the_option() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "a-token-of-24-characters\n").unwrap();
    let file = file.display().to_string();
    let words = ["models", "--node", NOBODY, "--token-file", &file];
    ends_with(&run(&words, &[("TOWLINE_TOKEN", "another-one")]), 69);
    ends_with(&run(&words, &[("TOWLINE_TOKEN", "")]), 69);
    let both = [&words[..], &["--token", "another-one"]].concat();
    ends_with(&run(&both, &[]), 64);
}
