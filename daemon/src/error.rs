//! Why a node did not start, or stopped: what, on what, and what to do next.
//!
//! Every variant has an exit code (sysexits(3)) that scripts and systemd can rely on.

use std::net::SocketAddr;
use std::path::PathBuf;

use rustix::io::Errno;

/// A node that cannot run.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// A volume's directory cannot be used.
    #[error("volume '{volume}': cannot use {path}: {error}. {hint}")]
    Volume {
        /// The volume's name.
        volume: String,
        /// Its directory.
        path: PathBuf,
        /// The system's error.
        error: String,
        /// What to do.
        hint: &'static str,
    },
    /// A port is taken or not allowed.
    #[error("cannot listen on {address} for {what}: {error}. {}", advice(*error, hint))]
    Bind {
        /// What it was for.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// The system's error.
        error: Errno,
        /// What to do where another program has the port.
        hint: String,
    },
    /// The engine that the configuration demands does not work here.
    #[error(
        "io.engine = \"uring\", but io_uring does not work here: {0}. Write \"auto\" or \
         \"portable\", or allow it (kernel.io_uring_disabled, the container's seccomp profile)"
    )]
    Engine(Errno),
    /// The congestion control that the configuration names does not work here.
    #[error(
        "io.congestion_control = \"{name}\": {error}. The ones allowed are in \
         /proc/sys/net/ipv4/tcp_allowed_congestion_control"
    )]
    Congestion {
        /// The name.
        name: String,
        /// The system's error.
        error: Errno,
    },
    /// A file of the node itself cannot be read or written.
    #[error("{what} {path}: {error}. {hint}")]
    File {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's error.
        error: String,
        /// What to do.
        hint: &'static str,
    },
    /// The key that signs models cannot be used.
    #[error("models.signing_key: {0}")]
    SigningKey(String),
    /// TLS certificate or key cannot be used.
    #[error("TLS: {0}")]
    Tls(String),
    /// Something that the system must give was refused.
    #[error("{what}: {error}")]
    System {
        /// What.
        what: &'static str,
        /// Why.
        error: String,
    },
}

/// What to do about a port that cannot be had.
fn advice(error: Errno, taken: &str) -> &str {
    match error {
        Errno::ADDRNOTAVAIL => {
            "This host has no such address: 'ip address' shows those it has, and 0.0.0.0 means \
             every one"
        }
        Errno::ACCESS | Errno::PERM => {
            "Ports below 1024 are for root: choose a higher one, or start the node with systemd"
        }
        _ => taken,
    }
}

impl NodeError {
    /// The exit code: 64 configuration, 69 cannot listen, 74 a file, 71 the system.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Volume { .. }
            | Self::Engine(_)
            | Self::Congestion { .. }
            | Self::SigningKey(_)
            | Self::Tls(_) => 64,
            Self::Bind { .. } => 69,
            Self::System { .. } => 71,
            Self::File { .. } => 74,
        }
    }
}

/// Something that the system must give was refused.
pub(crate) fn system(what: &'static str, error: impl std::fmt::Display) -> NodeError {
    NodeError::System {
        what,
        error: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_fits_what_the_system_said() {
        let told = |error| {
            let hint = "Stop the other program".to_owned();
            let address = SocketAddr::from(([10, 9, 9, 9], 2049));
            let what = "NFS";
            let error = NodeError::Bind {
                what,
                address,
                error,
                hint,
            };
            error.to_string()
        };
        assert!(told(Errno::ADDRINUSE).contains("Stop the other program"));
        assert!(told(Errno::ADDRNOTAVAIL).contains("no such address"));
        assert!(told(Errno::ACCESS).contains("below 1024"));
    }
}
