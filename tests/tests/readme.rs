//! The commands of README, as they stand there.
//!
//! Invariant: every line of its shell blocks that is ours names a verb and options that exist, or a
//! script that is there. Not promised: what the commands do; each has a test of its own where it is
//! promised.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use towline_tests::paths;

/// The lines of all shell blocks, without remarks and variables in front.
fn commands(readme: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        match line.trim() {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside => {
                let bare = line.split(" #").next().unwrap_or("").trim();
                let mut words = bare.split_whitespace().peekable();
                while words.peek().is_some_and(|word| is_variable(word)) {
                    words.next();
                }
                found.push(words.collect::<Vec<_>>().join(" "));
            }
            _ => {}
        }
    }
    found.retain(|line| !line.is_empty());
    found
}

/// `NAME=value` in front of a command.
fn is_variable(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    })
}

#[test]
fn every_command_of_the_readme_exists_as_it_is_written() -> Result<()> {
    let root = paths::workspace();
    let readme = fs::read_to_string(root.join("README.md"))?;
    let towline = paths::program("towline")?;
    let (mut ours, mut wrong) = (0, Vec::new());
    for line in commands(&readme) {
        let words = line
            .strip_prefix("towline ")
            .or_else(|| line.strip_prefix("cargo run --release -- "));
        if let Some(words) = words {
            ours += 1;
            // Everything in front of --help must be understood before it is.
            let told = Command::new(&towline)
                .args(words.split_whitespace())
                .arg("--help")
                .current_dir(&root)
                .output()?;
            if !told.status.success() {
                let why = String::from_utf8_lossy(&told.stderr).into_owned();
                wrong.push(format!("{line}: {why}"));
            }
        } else if line.starts_with("bench/") || line.starts_with("tests/") {
            ours += 1;
            let program = line.split(' ').next().unwrap_or("");
            if !root.join(program).is_file() {
                wrong.push(format!("{line}: there is no {program}"));
            }
        }
    }
    ensure!(ours > 40, "only {ours} commands were found");
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
