//! The settings of a node: defaults, then the file, then the command line, each value with its
//! origin.
//!
//! Promised: nothing is ignored silently (an unknown key is an error with the nearest known one),
//! every error names file, line, column, key, what is wrong and what to write instead, and all
//! errors of a file are told at once. A secret never prints. No port is opened and nothing is
//! created here; the only I/O is reading the file and looking at the paths that it names. Not
//! promised: that what was checked is still so when the node starts.

#![forbid(unsafe_code)]

mod check;
mod checker;
pub mod effective;
pub mod error;
mod file;
pub mod limits;
mod limits_check;
mod listen_check;
mod models_check;
mod nearest;
pub mod period;
mod s3_check;
pub mod secret;
pub mod show;
pub mod surroundings;
mod tls_check;
mod volume_check;
mod whole;

pub use effective::{
    Bench, CongestionControl, Effective, Engine, LocalPorts, LogFormat, ModelRights, ModelToken,
    Models, Origin, Overrides, Portmap, S3Key, Setting, Squash, Tls, TlsPair, TokenReach,
    TrustedKey, Tune, Volume, VolumeKind,
};
pub use error::{ConfigError, Problem};
pub use limits::Limits;
pub use secret::Secret;
pub use surroundings::Surroundings;
