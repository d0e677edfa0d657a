//! Options that several verbs share: those of a node, and which node to ask.
//!
//! Every option here has a key in the file; what the command line says wins over it.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use towline_config::{Effective, Overrides, Surroundings};

use crate::failure::Failure;

/// Where a node answers when nobody says otherwise.
pub(crate) const URL_DEFAULT: &str = "http://127.0.0.1:8420";

/// The settings of a node that the command line knows; each wins over the file.
#[derive(Args, Debug)]
pub(crate) struct NodeOptions {
    /// Folder for volumes without a path, keys and state.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address to listen on; may be given several times; 0.0.0.0 is all of them.
    #[arg(long, value_name = "IP")]
    listen: Vec<IpAddr>,
    /// Port of HTTP; 0 takes any free one.
    #[arg(long, value_name = "N")]
    http_port: Option<u16>,
    /// Port of NFS and MOUNT; 0 takes any free one.
    #[arg(long, value_name = "N")]
    nfs_port: Option<u16>,
    /// Address or range that may read and write, in every volume; may be given several times.
    #[arg(long, value_name = "CIDR")]
    allow: Vec<String>,
}

impl NodeOptions {
    /// The settings in force.
    pub(crate) fn load(&self) -> Result<Effective, Failure> {
        let overrides = Overrides {
            config: self.config.clone(),
            data: self.data.clone(),
            listen: self.listen.clone(),
            http_port: self.http_port,
            nfs_port: self.nfs_port,
            allow: self.allow.clone(),
        };
        Effective::load(&overrides, &Surroundings::of_process())
            .map_err(|error| Failure::usage(error.to_string()))
    }
}

/// The node to ask.
#[derive(Args, Debug)]
pub(crate) struct NodeUrl {
    /// URL of the node to ask.
    #[arg(long = "node", value_name = "URL", env = "TOWLINE_URL", default_value = URL_DEFAULT)]
    pub(crate) url: String,
}
