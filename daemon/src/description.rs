//! What a node says of itself: its listeners, its volumes, and as whom it acts.
//!
//! Made once, when everything is open. Invariant: what is described is what is served. Not
//! promised: what a peer may see of it; that is judged where it asks.

use towline_api::status::{self, ListenerProtocol, Status};
use towline_base::clock;
use towline_config::{self as config, Effective};

use crate::face::Speaks;
use crate::workers::Workers;
use crate::{process, sockets};
use towline_http::Port;

/// What listens where.
pub(crate) fn listeners(doors: &[sockets::Door], tls_port: Option<u16>) -> Vec<status::Listener> {
    let mut listeners = Vec::new();
    for door in doors {
        let protocol = match door.speaks {
            Speaks::Http(Port::Http) => ListenerProtocol::Http,
            Speaks::Http(Port::S3) => ListenerProtocol::S3,
            Speaks::Http(Port::Hub) => ListenerProtocol::Hub,
            Speaks::Nfs => ListenerProtocol::Nfs,
            Speaks::Portmap => ListenerProtocol::Portmap,
        };
        listeners.push(status::Listener {
            protocol,
            address: door.address,
        });
        if let (Speaks::Http(Port::Http), Some(port)) = (door.speaks, tls_port) {
            let address = std::net::SocketAddr::new(door.address.ip(), port);
            listeners.push(status::Listener {
                protocol: ListenerProtocol::Https,
                address,
            });
        }
    }
    listeners
}

/// The status of a node that serves now.
pub(crate) fn status(
    effective: &Effective,
    workers: &Workers,
    listeners: Vec<status::Listener>,
    notes: Vec<String>,
) -> Status {
    Status {
        node: effective.node.name.value.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        engine: workers.engine().to_owned(),
        workers: workers.handles().len() as u32,
        started: clock::since_epoch().as_secs(),
        runs_as_root: process::acts_as_callers(),
        uid: rustix::process::geteuid().as_raw(),
        portmap: listeners
            .iter()
            .any(|listener| listener.protocol == ListenerProtocol::Portmap),
        listeners,
        tune: Vec::new(),
        uploads: None,
        nfs4: None,
        volumes: effective.volumes.iter().map(volume_status).collect(),
        notes,
    }
}

fn volume_status(volume: &config::Volume) -> status::Volume {
    let kind = match volume.kind.value {
        config::VolumeKind::Model => "model",
        config::VolumeKind::Project => "project",
        config::VolumeKind::Cache => "cache",
    };
    let squash = match volume.squash.value {
        config::Squash::Root => "root",
        config::Squash::All => "all",
        config::Squash::None => "none",
    };
    let is_model = volume.kind.value == config::VolumeKind::Model;
    let nets = |nets: &[ipnet::IpNet]| nets.iter().map(ToString::to_string).collect();
    status::Volume {
        name: volume.name.clone(),
        kind: kind.to_owned(),
        path: volume.path.value.clone(),
        read_only: volume.read_only.value || is_model,
        allow: nets(&volume.allow.value),
        allow_write: nets(&volume.allow_write.value),
        squash: squash.to_owned(),
        anonymous: status::Anonymous {
            uid: volume.anonymous_uid.value,
            gid: volume.anonymous_gid.value,
        },
        needs_token: !volume.tokens.value.is_empty(),
    }
}
