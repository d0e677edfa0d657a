//! Saved runs and their comparison: medians, and the median absolute deviation (MAD) as noise.
//!
//! A set holds at least [`RUNS_MIN`] reports made with the same options. A figure counts as worse
//! only when its median moved in the worse direction by more than the threshold *and* by more than
//! the noise of both sets, so that a noisy figure is not blamed. Invariant: a set is written whole
//! and flushed, folder included, or not at all.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::csv::{quoted, unit_name};
use towline_link::result::{Better, Kind, Report, Unit};

/// Fewest runs of a set: a median of fewer is no median.
pub const RUNS_MIN: usize = 5;
/// Most runs of a set, as a count: more say nothing new.
pub const RUNS_MAX: usize = 100;
/// Largest saved set in bytes: a hundred runs of an hour, a sample a second.
const SET_BYTES_MAX: u64 = 256 << 20;
/// Noise within which a difference means nothing, in MADs of both sets together. Three are what a
/// normal distribution leaves in one of twenty comparisons of five runs.
const MADS: f64 = 3.0;

/// Runs of one thing.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// Version of towline that made it.
    pub version: String,
    /// The verb and options that made it, to make it again; none in sets of older versions.
    #[serde(default)]
    pub words: Vec<String>,
    /// The runs in order.
    pub runs: Vec<Report>,
}

/// Why a set cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HistoryFault {
    /// The name would leave the folder.
    #[error("{0}: a name has letters, digits, '-', '_' and '.', at most 64, and begins with none")]
    Name(String),
    /// It cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// There is none of this name.
    #[error(
        "nothing is saved as {name}; there are: {known}. Save with 'towline bench save {name} link \
         HOST'"
    )]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// It is no set.
    #[error("{path} is no saved set: {why}")]
    Content {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The two sets were made in different ways.
    #[error("{what} differs: {saved} was saved, this is {now}. Compare runs with the same options")]
    Options {
        /// Which option.
        what: String,
        /// Its saved value.
        saved: String,
        /// Its present value.
        now: String,
    },
}

/// One figure of two sets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The figure.
    pub name: String,
    /// Its unit.
    pub unit: Unit,
    /// Which direction is better.
    pub better: Better,
    /// Median of what was saved.
    pub saved: f64,
    /// Its MAD.
    pub saved_mad: f64,
    /// Median of the new runs.
    pub now: f64,
    /// Its MAD.
    pub now_mad: f64,
    /// By how many percent it is worse; negative where it is better.
    pub worse_percent: f64,
    /// Whether it is worse by more than the threshold and the noise.
    pub is_regression: bool,
}

/// The median, and the median of the distances to it. Zeros for no values.
#[must_use]
pub fn median_and_mad(values: &[f64]) -> (f64, f64) {
    let middle = median(values);
    let distances: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    (middle, median(&distances))
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(0.0);
    match sorted.len() {
        0 => 0.0,
        count if count % 2 == 1 => at(count / 2),
        count => (at(count / 2 - 1) + at(count / 2)) / 2.0,
    }
}

impl Set {
    /// An empty set.
    ///
    /// # Errors
    /// [`HistoryFault::Name`] for a name that is no file name.
    pub fn new(name: &str) -> Result<Self, HistoryFault> {
        check_name(name)?;
        Ok(Self {
            name: name.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            words: Vec::new(),
            runs: Vec::new(),
        })
    }

    /// Writes it into the folder, which is made.
    ///
    /// # Errors
    /// [`HistoryFault::File`].
    pub fn save(&self, folder: &Path) -> Result<PathBuf, HistoryFault> {
        let path = file_of(folder, &self.name)?;
        let failed = |error| HistoryFault::File {
            path: path.clone(),
            error,
        };
        fs::create_dir_all(folder).map_err(failed)?;
        let text = serde_json::to_vec(self).map_err(|error| failed(error.into()))?;
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        file.write_all(&text).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(&path).map_err(|error| failed(error.error))?;
        let opened = fs::File::open(folder).map_err(failed)?;
        opened.sync_all().map_err(failed)?;
        Ok(path)
    }

    /// Reads the set of this name.
    ///
    /// # Errors
    /// [`HistoryFault`], which names what there is.
    pub fn load(folder: &Path, name: &str) -> Result<Self, HistoryFault> {
        let path = file_of(folder, name)?;
        let failed = |error| HistoryFault::File {
            path: path.clone(),
            error,
        };
        let size = match fs::metadata(&path) {
            Ok(data) => data.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let known = match names(folder) {
                    names if names.is_empty() => "none".to_owned(),
                    names => names.join(", "),
                };
                let name = name.to_owned();
                return Err(HistoryFault::Unknown { name, known });
            }
            Err(error) => return Err(failed(error)),
        };
        let content = |why: String| HistoryFault::Content {
            path: path.clone(),
            why,
        };
        if size > SET_BYTES_MAX {
            return Err(content("it is too large".to_owned()));
        }
        let text = fs::read(&path).map_err(failed)?;
        let set: Self = serde_json::from_slice(&text).map_err(|why| content(why.to_string()))?;
        match set.runs.len() {
            count if count < RUNS_MIN => Err(content(format!("it has only {count} runs"))),
            _ => Ok(set),
        }
    }

    /// A figure of every run that has it.
    #[must_use]
    pub fn values(&self, name: &str) -> Vec<f64> {
        let figures = self.runs.iter().filter_map(|run| run.figure(name));
        figures.map(|figure| figure.value).collect()
    }
}

fn check_name(name: &str) -> Result<(), HistoryFault> {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let begins_well = name.starts_with(|first: char| first.is_ascii_alphanumeric());
    match begins_well && name.len() <= 64 && name.chars().all(fits) {
        true => Ok(()),
        false => Err(HistoryFault::Name(name.to_owned())),
    }
}

fn file_of(folder: &Path, name: &str) -> Result<PathBuf, HistoryFault> {
    check_name(name)?;
    Ok(folder.join(format!("{name}.json")))
}

/// Names of the saved sets.
#[must_use]
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_suffix(".json").map(str::to_owned)
        })
        .collect();
    names.sort();
    names
}

/// Compares two sets figure by figure; `threshold` is a share (0.05 is 5 %).
///
/// # Errors
/// [`HistoryFault::Options`] when they were made in different ways.
pub fn compare(saved: &Set, now: &Set, threshold: f64) -> Result<Vec<Change>, HistoryFault> {
    let (Some(before), Some(after)) = (saved.runs.first(), now.runs.first()) else {
        return Ok(Vec::new());
    };
    if before.kind != after.kind {
        let word = |kind: Kind| format!("{kind:?}").to_lowercase();
        return Err(HistoryFault::Options {
            what: "what was measured".to_owned(),
            saved: word(before.kind),
            now: word(after.kind),
        });
    }
    for (what, value) in &before.options {
        let other = after.options.get(what);
        if other != Some(value) {
            return Err(HistoryFault::Options {
                what: what.clone(),
                saved: value.clone(),
                now: other.cloned().unwrap_or_default(),
            });
        }
    }
    let changes = before.figures.iter().filter_map(|figure| {
        let (old, new) = (saved.values(&figure.name), now.values(&figure.name));
        if old.len() < RUNS_MIN || new.len() < RUNS_MIN {
            return None;
        }
        let ((saved, saved_mad), (now, now_mad)) = (median_and_mad(&old), median_and_mad(&new));
        let worse = match figure.better {
            Better::Higher => saved - now,
            Better::Lower => now - saved,
        };
        let share = worse / saved.abs().max(f64::MIN_POSITIVE);
        Some(Change {
            name: figure.name.clone(),
            unit: figure.unit,
            better: figure.better,
            saved,
            saved_mad,
            now,
            now_mad,
            worse_percent: 100.0 * share,
            is_regression: share > threshold && worse > MADS * saved_mad.max(now_mad),
        })
    });
    Ok(changes.collect())
}

/// Changes as comma-separated values (RFC 4180).
#[must_use]
pub fn csv(changes: &[Change]) -> String {
    let head = "name,unit,saved,saved_mad,now,now_mad,worse_percent,is_regression\r\n";
    let row = |change: &Change| {
        format!(
            "{},{},{},{},{},{},{},{}\r\n",
            quoted(&change.name),
            unit_name(change.unit),
            change.saved,
            change.saved_mad,
            change.now,
            change.now_mad,
            change.worse_percent,
            change.is_regression
        )
    };
    std::iter::once(head.to_owned())
        .chain(changes.iter().map(row))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(values: &[f64]) -> Set {
        let mut set = Set::new("a").unwrap();
        for value in values {
            let mut report = Report::new(Kind::Link, "host", 0);
            report.put("link", *value, Unit::BitsPerSecond, Better::Higher);
            report.put("rtt", 1.0, Unit::Seconds, Better::Lower);
            set.runs.push(report);
        }
        set
    }

    #[test]
    fn only_what_is_beyond_threshold_and_noise_is_a_regression() {
        let quiet = set(&[100.0, 101.0, 99.0, 100.0, 100.0]);
        let slower = set(&[90.0, 91.0, 89.0, 90.0, 90.0]);
        let noisy = set(&[90.0, 110.0, 70.0, 90.0, 120.0]);
        let found = |now: &Set, threshold| {
            let changes = compare(&quiet, now, threshold).unwrap();
            changes.iter().any(|change| change.is_regression)
        };
        assert!(found(&slower, 0.05));
        assert!(!found(&slower, 0.2), "within the threshold");
        assert!(!found(&noisy, 0.05), "within the noise");
        assert!(!found(&quiet, 0.05));
        let rows = csv(&compare(&quiet, &slower, 0.05).unwrap());
        assert!(
            rows.contains("link,bits_per_second,100,0,90,0,10,true\r\n"),
            "{rows}"
        );
        assert_eq!(median_and_mad(&[1.0, 2.0, 4.0, 9.0]), (3.0, 1.5));
    }

    #[test]
    fn sets_come_back_and_names_cannot_leave_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let saved = set(&[1.0; 5]);
        saved.save(folder.path()).unwrap();
        assert_eq!(Set::load(folder.path(), "a").unwrap(), saved);
        assert_eq!(names(folder.path()), ["a"]);
        for name in ["../a", "", ".a", "a/b", "-x"] {
            assert!(Set::new(name).is_err(), "{name}");
        }
        let fault = Set::load(folder.path(), "b").unwrap_err().to_string();
        assert!(fault.contains("there are: a"), "{fault}");
    }

    #[test]
    fn other_options_are_not_compared() {
        let saved = set(&[1.0; 5]);
        let mut now = saved.clone();
        for run in &mut now.runs {
            run.options.insert("streams".to_owned(), "4".to_owned());
        }
        assert!(compare(&now, &saved, 0.1).is_err());
    }
}
