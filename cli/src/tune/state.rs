//! Where the snapshots of `towline tune` lie, and the tools to change and take back.
//!
//! Invariant: whoever may change something holds the lock and has put back what was left over.

use std::path::PathBuf;

use clap::Args;
use towline_tuning::machine::Machine;
use towline_tuning::snapshot::{Lock, Store};
use towline_tuning::{Root, TuneError, apply};

use crate::failure::Failure;
use crate::output;

/// Where the snapshots lie.
#[derive(Args, Clone, Debug)]
pub(crate) struct StateOptions {
    /// Folder of the snapshots.
    #[arg(
        long = "state",
        value_name = "DIR",
        default_value = "/var/lib/towline/tune"
    )]
    pub(crate) folder: PathBuf,
}

impl StateOptions {
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
        for name in apply::recover(&store, &mut machine, &root)? {
            output::print(&format!(
                "snapshot {name} was not finished or not confirmed: put back what was before\n"
            ))?;
        }
        Ok((store, lock, machine))
    }
}
