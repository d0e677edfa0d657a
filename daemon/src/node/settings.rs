//! Settings of the configuration in the words of the crates that they are for.
//!
//! Invariant: what is read here changes nothing and opens nothing. Not promised: that a setting is
//! possible on this host, but for the congestion control, which is looked for.

use towline_config::{self as config, CongestionControl, Effective};
use towline_io::{Congestion, EngineChoice, Listening, Patience, WorkerLimits};

use crate::budget::Budget;
use crate::error::NodeError;
use crate::face::Speaks;
use crate::sockets;

/// How many workers there are: one for each core unless somebody says otherwise.
pub(super) fn workers(effective: &Effective) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    effective.io.workers.value.map_or_else(cores, usize::from)
}

/// Which names and pages the node answers to.
pub(super) fn doors(effective: &Effective) -> towline_http::Doors {
    let listen = &effective.listen;
    let (names, origins) = (listen.names.value.clone(), listen.origins.value.clone());
    towline_http::Doors::new(&effective.node.name.value, names, origins)
}

/// Who may read over S3.
pub(super) fn s3_keys(effective: &Effective) -> Vec<towline_http::s3::Key> {
    let keys = effective.s3_keys.iter();
    let key = |key: &config::S3Key| {
        let prefixes = key.prefixes.clone();
        towline_http::s3::Key::new(&key.id.value, key.secret.expose(), prefixes)
    };
    keys.map(key).collect()
}

pub(super) fn engine(choice: config::Engine) -> EngineChoice {
    match choice {
        config::Engine::Auto => EngineChoice::Auto,
        config::Engine::Uring => EngineChoice::Uring,
        config::Engine::Portable => EngineChoice::Portable,
    }
}

/// What `auto` stands for: measured on loopback, BBR without its queue discipline takes twice the
/// CPU per byte of reno, and on a LAN nothing is gained by pacing.
const LAN_CONGESTION: &str = "reno";

pub(super) fn congestion(setting: &CongestionControl) -> Result<Congestion, NodeError> {
    match setting {
        CongestionControl::Host => Ok(Congestion::Host),
        CongestionControl::Auto => {
            let lan = Congestion::NamedOnLan(LAN_CONGESTION.to_owned());
            Ok(if lan.check().is_ok() {
                lan
            } else {
                Congestion::Host
            })
        }
        CongestionControl::Named(name) => {
            let named = Congestion::Named(name.clone());
            match named.check() {
                Ok(()) => Ok(named),
                Err(error) => Err(NodeError::Congestion {
                    name: name.clone(),
                    error,
                }),
            }
        }
    }
}

pub(super) fn worker_limits(
    limits: &config::Limits,
    workers: usize,
    budget: &Budget,
) -> WorkerLimits {
    WorkerLimits {
        receive_bytes_max: budget.receive_bytes as usize / workers.max(1),
        pipes_max: budget.pipes_per_worker,
        stall_max: limits.stall_timeout.value,
        progress_bytes_per_s: limits.progress_per_s.value,
        drain_max: limits.drain_timeout.value,
        ..Default::default()
    }
}

/// Gives every worker its own socket of each listener.
pub(super) fn spread(
    doors: Vec<sockets::Door>,
    workers: usize,
    congestion: &Congestion,
    limits: &config::Limits,
) -> Vec<Vec<(Speaks, Listening)>> {
    let mut spread: Vec<Vec<(Speaks, Listening)>> = (0..workers).map(|_| Vec::new()).collect();
    for door in doors {
        let patience = match door.speaks {
            Speaks::Http(_) => Patience {
                idle_max: limits.idle_timeout.value,
                head_max: Some(limits.head_timeout.value),
            },
            Speaks::Nfs | Speaks::Portmap => Patience {
                idle_max: limits.nfs_idle_timeout.value,
                head_max: None,
            },
        };
        for (listeners, socket) in spread.iter_mut().zip(door.sockets) {
            let congestion = congestion.clone();
            listeners.push((
                door.speaks,
                Listening {
                    socket,
                    congestion,
                    patience,
                },
            ));
        }
    }
    spread
}
