//! From checked settings to the list of parts that a node is.
//!
//! Invariant: everything is opened here, in one order, and nothing is served by the control plane
//! before all of it is open; the order of the list is that of the pages and of the stop. Not
//! promised: that a port which was free before is free now; what fails says on what.

use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;
use tokio::sync::mpsc::{Sender, channel};
use towline_config::Effective;
use towline_http::Port;
use towline_io::{Admission, HandOff, Pool, PoolLimits};
use towline_models::{Desks, Stock};
use towline_tls::Terms;
use towline_volume::Exports;

use super::{Node, settings};
use crate::budget::Budget;
use crate::control::{self, Control, Pages};
use crate::data_plane::DataPlane;
use crate::description::{listeners, status};
use crate::error::{NodeError, system};
use crate::eviction::{Caches, Leftovers};
use crate::face::Speaks;
use crate::https::Https;
use crate::measuring::Measuring;
use crate::models::Models;
use crate::part::{Part, Parts};
use crate::protocols::Protocols;
use crate::registration::Registration;
use crate::sockets::{self, PortmapState, Ports, Sockets};
use crate::standing::Standing;
use crate::tuning::Tuning;
use crate::vitals::Vitals;
use crate::volumes::Volumes;
use crate::workers::{Plant, Workers};
use crate::{data_lock, key_file, process, volumes};

/// Most jobs that wait for the pool; beyond it the workers stop reading from those who ask.
const JOBS_WAITING_MAX: usize = 4096;

/// What workers tell the rest of the node.
struct Bells {
    handed_off: Sender<HandOff>,
    ended: Sender<Result<(), Errno>>,
}

impl Node {
    /// Opens everything. Blocks.
    pub(super) fn open(effective: &Effective, mut notes: Vec<String>) -> Result<Self, NodeError> {
        let terms = effective.tls.as_ref().map(Terms::load).transpose();
        let terms = terms.map_err(|error| NodeError::Tls(error.to_string()))?;
        let congestion = settings::congestion(&effective.io.congestion_control.value)?;
        let data: &Path = &effective.node.data.value;
        let lock = data_lock::take(data)?;
        let key = key_file::load_or_make(data, key_file::Signs::Handles)?;
        let mut effective = effective.clone();
        let volumes = volumes::open(&mut effective, key, &mut notes)?;
        let (effective, exports) = (&effective, volumes.exports.clone());
        let count = settings::workers(effective);
        let mut sockets = sockets::open(effective, count)?;
        let registration = register(&mut sockets, &mut notes);
        let is_registered = registration.is_some();
        let tuning = Tuning::open(effective, &mut notes)?;
        notes.extend(process::identity_note());
        let nfs = nfs_server(effective, &exports, &sockets, is_registered)?;
        volumes::announce_changes(&volumes, &nfs);
        let (send_off, handed_off) = channel(control::WAITING_MAX);
        let (send_end, ended) = channel(count);
        let ports = sockets.ports();
        let bells = Bells {
            handed_off: send_off,
            ended: send_end,
        };
        let shares = (count, Budget::new(effective, count, &mut notes));
        let plant = plant((effective, ports), shares, (&volumes, nfs), bells)?;
        let measuring = Measuring::open(effective)?;
        let listeners = listeners(&sockets.doors, ports.tls);
        let http = Speaks::Http(Port::Http);
        let mut speaks = sockets.doors.iter().map(|door| door.speaks);
        let http_listener = speaks.position(|speaks| speaks == http).unwrap_or(0);
        let spread = settings::spread(sockets.doors, count, &congestion, &effective.limits);
        let workers = Workers::start(&plant, spread)?;
        let mut opened = status(effective, &workers, listeners, notes);
        opened.portmap |= is_registered;
        let https = terms.map(|terms| {
            let target = (workers.handles(), http_listener);
            Https::start(sockets.tls, terms, target, &congestion)
        });
        let https: Option<Arc<dyn Part>> = match https.transpose()? {
            Some(https) => Some(Arc::new(https)),
            None => None,
        };
        let mut parts: Vec<Arc<dyn Part>> = vec![
            Arc::new(Vitals::new(opened.started)),
            Arc::new(Standing::new(effective, &exports)),
            Arc::new(DataPlane::new(workers, plant.pool, registration)),
            Arc::new(Caches::new(effective)),
            Arc::new(Leftovers::new(effective)),
            Arc::new(Models::new(desks(effective, volumes)?, ports)),
            Arc::new(Protocols::new(plant.http.clone(), plant.nfs, sockets.udp)),
            Arc::new(measuring),
        ];
        parts.extend(https);
        parts.push(Arc::new(tuning));
        let parts = Parts::new(parts);
        let pages = Arc::new(Pages::new(parts.clone(), exports.clone(), opened));
        let control = Control::new((&pages, &parts), (exports, plant.http), ports);
        Ok(Self {
            parts,
            pages,
            control: Arc::new(control),
            handed_off,
            ended,
            _lock: lock,
        })
    }
}

/// The desks for models, where there is a store.
fn desks(effective: &Effective, volumes: Volumes) -> Result<Option<Desks>, NodeError> {
    let Some(models) = volumes.models else {
        return Ok(None);
    };
    let data = &effective.node.data.value;
    let key = key_file::load_or_make(data, key_file::Signs::Uploads)?;
    let stock = Stock {
        models,
        arriving: volumes.arriving,
        keyring: volumes.keyring,
        trusted: volumes.signing.trusted,
        signer: volumes.signing.signer,
    };
    Ok(Some(Desks::open(stock, (data, key), &effective.limits)))
}

/// What all workers share.
fn plant(
    (effective, ports): (&Effective, Ports),
    (workers, budget): (usize, Budget),
    (volumes, nfs): (&Volumes, Arc<towline_nfs::Server>),
    Bells { handed_off, ended }: Bells,
) -> Result<Plant, NodeError> {
    let exports = volumes.exports.clone();
    let limits = &effective.limits;
    let upload_bytes_max = limits.upload_size.value;
    let http_limits = towline_http::Limits { upload_bytes_max };
    let threads = budget.pool_threads as usize;
    let pool = Pool::new(PoolLimits {
        threads,
        queue_max: JOBS_WAITING_MAX,
    })
    .map_err(|error| system("cannot start the pool", error))?;
    let admission = Admission::new(
        budget.connections as usize,
        budget.connections_per_address as usize,
    );
    Ok(Plant {
        engine: settings::engine(effective.io.engine.value),
        limits: settings::worker_limits(limits, workers, &budget),
        nodes_max: budget.nodes_per_worker,
        admission: Arc::new(admission),
        pool: Arc::new(pool),
        http: Arc::new(
            towline_http::Server::new(exports.clone(), http_limits)
                .with_models(volumes.models.clone())
                .with_keyring(volumes.keyring.clone())
                .with_s3_keys(settings::s3_keys(effective))
                .with_tls_port(ports.tls)
                .with_doors(settings::doors(effective))
                .with_spool(&effective.node.data.value),
        ),
        exports,
        nfs,
        handed_off,
        ended,
    })
}

fn nfs_server(
    effective: &Effective,
    exports: &Arc<Exports>,
    sockets: &Sockets,
    is_registered: bool,
) -> Result<Arc<towline_nfs::Server>, NodeError> {
    let is_served = sockets.portmap == PortmapState::Served;
    let ports = towline_nfs::Ports {
        nfs: sockets.nfs_port,
        mount_udp: is_served.then_some(sockets::PORTMAP_PORT),
        portmap: (is_served || is_registered).then_some(sockets::PORTMAP_PORT),
    };
    let local_ports = match effective.local_ports.value {
        towline_config::LocalPorts::Owner => towline_nfs::LocalPorts::Owner,
        towline_config::LocalPorts::Any => towline_nfs::LocalPorts::Any,
    };
    let lease_seconds = u32::try_from(effective.nfs_lease.value.as_secs()).unwrap_or(u32::MAX);
    let settings = towline_nfs::v4::Settings {
        lease_seconds,
        ledger: Some(effective.node.data.value.join(".towline/nfs4.ledger")),
    };
    let v4 = effective.nfs_v4.value.then_some(settings);
    towline_nfs::Server::new(
        exports.clone(),
        towline_nfs::Settings {
            ports,
            local_ports,
            v4,
        },
    )
    .map_err(|error| system("cannot begin the ledger of NFSv4 clients", error))
}

/// Registers with an rpcbind that has port 111, and notes how clients find NFS.
fn register(sockets: &mut Sockets, notes: &mut Vec<String>) -> Option<Registration> {
    match &sockets.portmap {
        PortmapState::Served => None,
        PortmapState::Taken => match Registration::new(sockets.nfs_port) {
            Ok(registration) => Some(registration),
            Err(error) => {
                notes.push(format!(
                    "port 111 is taken and what runs there took no registration ({error}): \
                     clients must name their ports, which Windows cannot"
                ));
                None
            }
        },
        PortmapState::Absent(why) => {
            notes.push(format!(
                "no portmapper ({why}): clients must name their ports, which Windows cannot"
            ));
            None
        }
    }
}
