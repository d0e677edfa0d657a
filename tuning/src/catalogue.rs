//! The catalogue of checks: `data/catalogue.toml`, which a person can read and correct.
//!
//! Invariant: ids are unique, and an entry says either where its value is read or why the check is
//! not made. The file is compiled in; a broken one fails the tests, and at run time the tool says
//! so instead of checking less.

use serde::Deserialize;

use crate::error::TuneError;
use crate::verdict::Severity;

const TEXT: &str = include_str!("../data/catalogue.toml");

/// One check.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The id in code, JSON and ignore lists.
    pub id: String,
    /// The heading under which it is shown.
    pub group: String,
    /// How bad a failure is, unless the amount says otherwise.
    pub severity: Severity,
    /// Where the value is read.
    #[serde(default)]
    pub from: String,
    /// Why it matters.
    #[serde(default)]
    pub why: String,
    /// Why the check is not made.
    #[serde(default)]
    pub absent: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    check: Vec<Entry>,
}

/// All entries, in the order of the file.
#[derive(Clone, Debug)]
pub struct Catalogue(pub Vec<Entry>);

impl Catalogue {
    /// The compiled-in catalogue.
    ///
    /// # Errors
    /// When the data file is broken: a fault of the build.
    pub fn load() -> Result<Self, TuneError> {
        let file: File = toml::from_str(TEXT)
            .map_err(|error| TuneError::usage(format!("catalogue.toml: {error}")))?;
        Ok(Self(file.check))
    }

    /// The entry of that id.
    #[must_use]
    pub fn entry(&self, id: &str) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.id == id)
    }
}
