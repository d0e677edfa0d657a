//! Where the snapshots of `towline tune` lie, and the tools to change and take back.
//!
//! Invariant: whoever may change something holds the lock and has put back what was left over.

use std::path::PathBuf;

use clap::Args;
use towline_tuning::machine::Machine;
use towline_tuning::persist::Place;
use towline_tuning::snapshot::{Lock, Store};
use towline_tuning::{Root, TuneError, apply};

use crate::failure::Failure;
use crate::output;

const FOLDER: &str = "/var/lib/towline/tune";

/// Where the snapshots lie.
#[derive(Args, Clone, Debug)]
pub(crate) struct StateOptions {
    /// Folder of the snapshots.
    #[arg(
        long = "state",
        value_name = "DIR",
        default_value = FOLDER
    )]
    pub(crate) folder: PathBuf,
}

impl StateOptions {
    /// What to add to another verb so that it finds the same snapshots.
    pub(crate) fn argument(&self) -> String {
        if self.folder.as_os_str() == FOLDER {
            String::new()
        } else {
            format!(" --state {}", self.folder.display())
        }
    }

    /// The store.
    pub(crate) fn store(&self) -> Store {
        Store::at(&Root::default(), Some(&self.folder))
    }

    /// The store and the machine, with every other run kept out and what a dead run has left taken
    /// back.
    pub(crate) fn open(&self) -> Result<(Store, Lock, Machine), Failure> {
        let store = self.store();
        let lock = store.lock()?;
        let root = Root::default();
        let mut machine =
            Machine::open(root.clone()).map_err(|error| TuneError::system("netlink", error))?;
        for name in apply::recover(&store, &mut machine, Place::at(&root))? {
            // Not part of what the verb prints, which may be JSON.
            output::complain(&format!(
                "snapshot {name} was not finished or not confirmed: put back what was before"
            ));
        }
        Ok((store, lock, machine))
    }
}
