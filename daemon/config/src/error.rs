//! What is wrong with the settings, where, and what to write instead.
//!
//! Invariant: a problem names the place as exactly as it is known: file, line and column, or the
//! option of the command line. All problems of one reading are told together. A secret is never
//! part of a message.

use std::fmt;
use std::path::PathBuf;

/// Where a problem lies.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// In the file.
    File {
        /// Its path as it was given.
        path: PathBuf,
        /// Line from 1, and column from 1 in characters; `None`: the file as a whole.
        at: Option<(usize, usize)>,
    },
    /// On the command line.
    CommandLine,
    /// In a default.
    Default,
}

impl Place {
    /// The line, for putting problems in the order of the file; 0 for those outside of it.
    pub(crate) fn line(&self) -> usize {
        match self {
            Self::File { at, .. } => at.map_or(0, |(line, _)| line),
            Self::CommandLine | Self::Default => 0,
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// The key (`volumes.models.path`) or option (`--allow`); empty for the whole file.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub instead: String,
}

/// Everything that is wrong with the settings: usage error, exit 64.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub struct ConfigError {
    /// At least one problem.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File { path, at } => {
                write!(f, "{}:", path.display())?;
                if let Some((line, column)) = at {
                    write!(f, "{line}:{column}:")?;
                }
                f.write_str(" ")?;
            }
            Place::CommandLine | Place::Default => {}
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}; {}", self.what, self.instead)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.problems.iter().enumerate() {
            if place > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_like_a_compilers() {
        let problem = Problem {
            place: Place::File {
                path: "towline.toml".into(),
                at: Some((3, 9)),
            },
            key: "listen.http_port".to_owned(),
            what: "70000 is no port".to_owned(),
            instead: "write a number from 0 to 65535".to_owned(),
        };
        assert_eq!(
            problem.to_string(),
            "towline.toml:3:9: listen.http_port: 70000 is no port; write a number from 0 to 65535"
        );
    }
}
