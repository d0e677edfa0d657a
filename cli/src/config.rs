//! `towline config check` and `towline config show`: the settings before they are used.
//!
//! Nothing is opened or made; only the file and the paths in it are looked at.

use std::path::PathBuf;

use towline_config::{Effective, Overrides, Surroundings, show};

use crate::failure::Failure;
use crate::options::NodeOptions;
use crate::{output, table};

pub(crate) const CHECK_EXAMPLES: &str = "\
Examples:
  towline config check /etc/towline/towline.toml

Exit codes: 0 the file is good, 64 it is not (every mistake is on a line of its own).";

pub(crate) const SHOW_EXAMPLES: &str = "\
Examples:
  towline config show                          the defaults
  towline config show --config towline.toml    with a file
  towline config show --allow 10.0.0.0/24      with options of 'towline up'";

pub(crate) fn check(file: PathBuf) -> Result<(), Failure> {
    let overrides = Overrides {
        config: Some(file.clone()),
        ..Overrides::default()
    };
    let effective = Effective::load(&overrides, &Surroundings::of_process())
        .map_err(|error| Failure::usage(error.to_string()))?;
    let volumes = effective.volumes.len();
    let mut text = format!("{}: good, {volumes} volumes\n", file.display());
    for note in &effective.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    output::print(&text)
}

pub(crate) fn show(options: &NodeOptions) -> Result<(), Failure> {
    let effective = options.load()?;
    let rows: Vec<Vec<String>> = show::rows(&effective)
        .into_iter()
        .map(|row| vec![row.key, row.value, row.origin.to_string()])
        .collect();
    let mut text = table::layout(&["KEY", "VALUE", "FROM"], &rows);
    for note in &effective.notes {
        text.push_str(&format!("\nnote: {note}\n"));
    }
    output::print(&text)
}
