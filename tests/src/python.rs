//! Python programs that we did not write, in virtual environments that tests/run makes.
//!
//! `tests/clients/python/NAME.txt` lists what is in the environment `NAME`, which lies in Cargo's
//! target directory. Invariant: a client finds no proxy, no token and no cache of whoever runs the
//! tests, and whatever is not on this machine refuses its connection, so a file that a client has
//! can only come from the node under test.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::paths;
use crate::skip;

/// Nobody listens there (RFC 863, never served on a test machine).
const NOWHERE: &str = "http://127.0.0.1:9";

/// An environment.
#[derive(Clone, Debug)]
pub struct Python {
    directory: PathBuf,
}

impl Python {
    /// The environment `name`, if tests/run has made it. Where it has not, tells that the calling
    /// test ends here.
    ///
    /// # Errors
    /// Fails in CI (`CI=true`), where everything that can be installed must be.
    pub fn installed(name: &str) -> Result<Option<Self>> {
        let directory = paths::target().join("python").join(name);
        // Written last.
        if directory.join("installed.txt").is_file() {
            return Ok(Some(Self { directory }));
        }
        let what = format!("the Python environment '{name}' is missing: tests/run makes it");
        if std::env::var("CI").is_ok_and(|value| value == "true") {
            bail!(what);
        }
        skip::impossible(&what)?;
        Ok(None)
    }

    /// A program of the environment, such as `hf`, that keeps its own things below `home`.
    #[must_use]
    pub fn program(&self, name: &str, home: &Path) -> Command {
        let programs = self.directory.join("bin");
        let mut command = Command::new(programs.join(name));
        command.env_clear().current_dir(home);
        let system = "/usr/local/bin:/usr/bin:/bin";
        command.env("PATH", format!("{}:{system}", programs.display()));
        command.env("HOME", home).env("HF_HOME", home.join("hf"));
        for name in ["http_proxy", "https_proxy", "all_proxy"] {
            command.env(name, NOWHERE);
        }
        command.env("no_proxy", "127.0.0.1,localhost");
        command.env("PYTHONWARNINGS", "ignore");
        command
    }

    /// One of the scripts in `tests/clients/python`.
    #[must_use]
    pub fn script(&self, name: &str, home: &Path) -> Command {
        let mut command = self.program("python", home);
        let script = paths::workspace().join("tests/clients/python").join(name);
        command.arg("-B").arg(script);
        command
    }

    /// Whether a module can be imported, such as `torch`, which only `tests/run --full` installs.
    #[must_use]
    pub fn has(&self, module: &str) -> bool {
        let find =
            format!("import importlib.util as u, sys; sys.exit(not u.find_spec('{module}'))");
        let mut command = Command::new(self.directory.join("bin/python"));
        command.args(["-c", &find]);
        command.status().is_ok_and(|status| status.success())
    }
}
