//! A file of settings as an operator writes it, in a folder of its own.
//!
//! Invariant: messages come without the folder's name, so that they can be compared whole. Not
//! promised: the surroundings of whoever runs the tests; they are made up.

use std::path::PathBuf;

use towline_config::{Effective, Overrides, Surroundings};

pub(crate) fn around() -> Surroundings {
    Surroundings {
        is_root: false,
        home: Some(PathBuf::from("/home/someone")),
        data_home: None,
        host: "node-1".to_owned(),
    }
}

/// Loads `text` as a file in a folder where the directory `there` and the file `plain` exist.
pub(crate) fn load(text: &str, change: impl Fn(&mut Overrides)) -> Result<Effective, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let inside = |name: &str| folder.path().join(name);
    let written = std::fs::create_dir(inside("there"))
        .and_then(|()| std::fs::create_dir(inside("elsewhere")))
        .and_then(|()| std::fs::write(inside("plain"), "a-token-of-24-characters\n"))
        .and_then(|()| std::fs::write(inside("t.toml"), text));
    written.map_err(|error| error.to_string())?;
    let mut overrides = Overrides {
        config: Some(inside("t.toml")),
        ..Overrides::default()
    };
    change(&mut overrides);
    let here = format!("{}/", folder.path().display());
    Effective::load(&overrides, &around()).map_err(|error| error.to_string().replace(&here, ""))
}
