//! The node's life: build the parts in order, say that it is ready, stop cleanly.
//!
//! Invariant: nothing is served before everything that can be wrong has been checked; a stop
//! drains the workers first and ends the control plane last. A second signal stops at once.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use towline_api::Status;
use towline_config::{self as config, CongestionControl, Effective, LocalPorts};
use towline_http::Port;
use towline_io::{
    Admission, Congestion, EngineChoice, Listening, Patience, Pool, PoolLimits, WorkerLimits,
    WorkerMetrics,
};
use towline_models::{Desks, ModelDesk, Stock, UploadDesk};
use towline_volume::{Exports, Reach};

use crate::budget::Budget;
use crate::description::{listeners, status};
use crate::error::NodeError;
use crate::eviction::Evicted;
use crate::face::Speaks;
use crate::measuring::Measuring;
use crate::registration::Registration;
use crate::sockets::{self, PortmapState, Sockets};
use crate::standing::Standing;
use crate::tuning_peer::TuningPeer;
use crate::volumes::Volumes;
use crate::workers::{Plant, Workers};
use crate::{
    control, data_lock, datagrams, eviction, key_file, process, silent_clients, standing, tls,
    trace, volumes,
};

/// Most jobs that wait for the pool; beyond it the workers stop reading from those who ask.
const JOBS_WAITING_MAX: usize = 4096;

/// Most threads of the control plane that may block at once, started as they are needed: some are
/// held by commits that hash for minutes, and the rest must do for everybody else.
const BLOCKING_THREADS_MAX: usize = 64;

/// What the control plane knows of the running node.
pub(crate) struct Facts {
    pub(crate) started: u64,
    pub(crate) exports: Arc<Exports>,
    pub(crate) workers: Vec<Arc<WorkerMetrics>>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) http: Arc<towline_http::Server>,
    pub(crate) nfs: Arc<towline_nfs::Server>,
    pub(crate) evicted: Arc<Evicted>,
    pub(crate) tuning: Arc<towline_tuning::watch::Watch>,
    pub(crate) models: Option<Arc<ModelDesk>>,
    pub(crate) uploads: Option<Arc<UploadDesk>>,
    /// Ports that tell what a connection is about.
    pub(crate) ports: sockets::Ports,
    pub(crate) tuning_peer: Arc<towline_tuning::peer::tally::Tally>,
    pub(crate) standing: Arc<Standing>,
    pub(crate) bench: Arc<towline_link::link::server::Counters>,
    pub(crate) tls: Option<Arc<tls::Tally>>,
    status: Status,
}

impl Facts {
    /// The status as this address may see it (threat N14: no list of what it cannot reach).
    pub(crate) fn status_for(&self, peer: IpAddr) -> Status {
        let mut status = self.status.clone();
        if !peer.to_canonical().is_loopback() {
            status.volumes.retain(|volume| {
                let export = self.exports.by_name(volume.name.as_bytes());
                export.is_some_and(|export| export.reach(peer) > Reach::None)
            });
        }
        for (volume, fault) in self.standing.faults() {
            if status.volumes.iter().any(|shown| shown.name == volume) {
                status.notes.push(fault);
            }
        }
        status.uploads = self.models.as_ref().map(|models| {
            let staged = models.staged();
            towline_api::status::Uploads {
                bytes: staged.bytes,
                promised: staged.promised,
                bytes_max: staged.bytes_max,
            }
        });
        status.nfs4 = self.nfs.held().map(|held| towline_api::status::Nfs4 {
            clients: held.clients,
            sessions: held.sessions,
            opens: held.opens,
            lock_owners: held.lock_owners,
            delegations: held.delegations,
        });
        status
    }
}

/// Runs a node until it is told to stop (SIGINT or SIGTERM). `ready` is called once, when
/// everything is served.
///
/// # Errors
/// [`NodeError`] if the node could not start, or if a worker failed.
pub fn run(effective: &Effective, ready: impl FnOnce(&Status)) -> Result<(), NodeError> {
    let mut notes = effective.notes.clone();
    notes.extend(process::prepare());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()
        .map_err(|error| system("cannot start the control plane", error))?;
    runtime.block_on(async {
        // Signals first: whoever stops the node while it starts means it.
        let signals = Signals::new()?;
        let node = Node::build(effective, notes)?;
        ready(&node.facts.status);
        node.serve(signals).await
    })
}

struct Node {
    facts: Arc<Facts>,
    workers: Workers,
    handed_off: tokio::sync::mpsc::Receiver<towline_io::HandOff>,
    ended: tokio::sync::mpsc::Receiver<Result<(), rustix::io::Errno>>,
    udp: Vec<std::net::UdpSocket>,
    tls: Option<(tls::Terms, tls::Threads)>,
    caches: Vec<(String, std::path::PathBuf, towline_volume::evict::Bounds)>,
    uploaded: (Vec<(String, std::path::PathBuf)>, std::time::Duration),
    registration: Option<Registration>,
    tuning_peer: TuningPeer,
    measuring: Measuring,
    /// Of the data directory.
    _lock: std::fs::File,
}

impl Node {
    fn build(effective: &Effective, mut notes: Vec<String>) -> Result<Self, NodeError> {
        let terms = effective.tls.as_ref().map(tls::Terms::load).transpose()?;
        let congestion = congestion(&effective.io.congestion_control.value)?;
        let data: &Path = &effective.node.data.value;
        let lock = data_lock::take(data)?;
        let key = key_file::load_or_make(data, key_file::Signs::Handles)?;
        let mut effective = effective.clone();
        let volumes = volumes::open(&mut effective, key, &mut notes)?;
        let (effective, exports) = (&effective, volumes.exports.clone());
        let workers = effective.io.workers.value.map_or_else(cores, usize::from);
        let mut sockets = sockets::open(effective, workers)?;
        let registration = register(&mut sockets, &mut notes);
        let tuning_peer = TuningPeer::open(effective, &mut notes)?;
        notes.extend(process::identity_note());
        let nfs = nfs_server(effective, &volumes, &sockets, registration.is_some())?;
        let (send_off, handed_off) = tokio::sync::mpsc::channel(control::WAITING_MAX);
        let (send_end, ended) = tokio::sync::mpsc::channel(workers);
        let (limits, ports) = (&effective.limits, sockets.ports());
        let shares = (workers, Budget::new(effective, workers, &mut notes));
        let set = (effective, ports);
        let plant = plant(set, shares, &volumes, nfs, send_off, send_end)?;
        let (doors, tls, udp) = (sockets.doors, sockets.tls, sockets.udp);
        let measuring = Measuring::open(effective)?;
        let mut listeners = listeners(&doors, ports.tls);
        listeners.extend(measuring.listeners());
        let http = Speaks::Http(Port::Http);
        let http_listener = doors.iter().position(|door| door.speaks == http);
        let workers = Workers::start(&plant, spread(doors, workers, &congestion, limits))?;
        let target = (workers.handles(), http_listener.unwrap_or(0));
        let tls = match terms {
            Some(terms) => Some(tls::Threads::start(tls, terms, target, &congestion)?),
            None => None,
        };
        let mut status = status(effective, &workers, listeners, notes);
        status.portmap |= registration.is_some();
        status.tune = tuning_peer.addresses().to_vec();
        let (uploads, models) = desks(effective, volumes)?.unzip();
        let facts = Arc::new(Facts {
            started: status.started,
            workers: workers.metrics().to_vec(),
            exports: plant.exports,
            pool: plant.pool,
            http: plant.http,
            nfs: plant.nfs,
            evicted: Arc::default(),
            tuning: Arc::default(),
            uploads,
            models,
            ports,
            tuning_peer: tuning_peer.tally().clone(),
            standing: Arc::new(Standing::new(effective, &exports)),
            bench: measuring.counters(),
            tls: tls.as_ref().map(|(terms, _)| terms.tally.clone()),
            status,
        });
        Ok(Self {
            facts,
            workers,
            handed_off,
            ended,
            udp,
            tls,
            caches: eviction::bounded(effective),
            uploaded: (eviction::uploaded(effective), limits.upload_age.value),
            registration,
            tuning_peer,
            measuring,
            _lock: lock,
        })
    }

    /// Serves until a signal or a failed worker.
    async fn serve(mut self, mut signals: Signals) -> Result<(), NodeError> {
        tokio::spawn(control::serve(self.handed_off, self.facts.clone()));
        tokio::spawn(eviction::serve(self.caches, self.facts.evicted.clone()));
        let (uploaded, age) = self.uploaded;
        let evicted = self.facts.evicted.clone();
        tokio::spawn(eviction::serve_uploads(uploaded, age, evicted));
        tokio::spawn(eviction::note_uses(self.facts.clone()));
        tokio::spawn(trace::tell_left_out());
        tokio::spawn(standing::serve(self.facts.standing.clone()));
        tokio::spawn(silent_clients::serve(self.facts.nfs.clone()));
        for socket in self.udp {
            tokio::spawn(datagrams::serve(socket, self.facts.nfs.clone()));
        }
        if let Some((terms, _)) = &self.tls {
            tokio::spawn(terms.clone().renew());
        }
        self.tuning_peer.start()?;
        let answering = self.measuring.start()?;
        notify(&[sd_notify::NotifyState::Ready]);
        let failed = tokio::select! {
            _ = signals.next() => None,
            end = self.ended.recv() => Some(end),
        };
        notify(&[sd_notify::NotifyState::Stopping]);
        drop(self.registration.take());
        tracing::info!("stopping: requests under way may finish");
        self.workers.drain();
        if let Some((_, threads)) = &self.tls {
            threads.stop();
        }
        if let Some(models) = &self.facts.models {
            models.stop();
        }
        let mut workers = self.workers;
        let (tuning_peer, tls, facts) = (self.tuning_peer, self.tls, self.facts.clone());
        let joined = tokio::task::spawn_blocking(move || {
            facts.models.iter().for_each(|desk| desk.note_uses());
            tuning_peer.stop();
            answering.stop();
            workers.join();
            if let Some((_, threads)) = tls {
                threads.join();
            }
        });
        tokio::select! {
            _ = joined => {}
            _ = signals.next() => {
                tracing::warn!("stopped at once by a second signal");
            }
        }
        match failed {
            None => Ok(()),
            Some(Some(Err(error))) => Err(system("a worker's engine failed", error)),
            Some(_) => Err(system("a worker ended", "see the log above")),
        }
    }
}

/// The two desks of one store.
type OwnDesks = (Arc<UploadDesk>, Arc<ModelDesk>);

/// The desks for models, where there is a store.
fn desks(effective: &Effective, volumes: Volumes) -> Result<Option<OwnDesks>, NodeError> {
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
    let desks = Desks::open(stock, (data, key), &effective.limits);
    Ok(Some((desks.uploads, desks.models)))
}

/// What all workers share.
fn plant(
    (effective, ports): (&Effective, sockets::Ports),
    (workers, budget): (usize, Budget),
    volumes: &Volumes,
    nfs: Arc<towline_nfs::Server>,
    handed_off: tokio::sync::mpsc::Sender<towline_io::HandOff>,
    ended: tokio::sync::mpsc::Sender<Result<(), rustix::io::Errno>>,
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
        engine: engine(effective.io.engine.value),
        limits: worker_limits(limits, workers, &budget),
        nodes_max: budget.nodes_per_worker,
        admission: Arc::new(admission),
        pool: Arc::new(pool),
        http: Arc::new(
            towline_http::Server::new(exports.clone(), http_limits)
                .with_models(volumes.models.clone())
                .with_keyring(volumes.keyring.clone())
                .with_s3_keys(s3_keys(effective))
                .with_tls_port(ports.tls)
                .with_doors(doors(effective))
                .with_spool(&effective.node.data.value),
        ),
        exports,
        nfs,
        handed_off,
        ended,
    })
}

/// Which names and pages the node answers to.
fn doors(effective: &Effective) -> towline_http::Doors {
    let listen = &effective.listen;
    let (names, origins) = (listen.names.value.clone(), listen.origins.value.clone());
    towline_http::Doors::new(&effective.node.name.value, names, origins)
}

/// Who may read over S3.
fn s3_keys(effective: &Effective) -> Vec<towline_http::s3::Key> {
    let keys = effective.s3_keys.iter();
    let key = |key: &config::S3Key| {
        let prefixes = key.prefixes.clone();
        towline_http::s3::Key::new(&key.id.value, key.secret.expose(), prefixes)
    };
    keys.map(key).collect()
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self, NodeError> {
        let listen =
            |kind| signal(kind).map_err(|error| system("cannot listen for signals", error));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager was not told");
    }
}

fn system(what: &'static str, error: impl std::fmt::Display) -> NodeError {
    NodeError::System {
        what,
        error: error.to_string(),
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn engine(choice: config::Engine) -> EngineChoice {
    match choice {
        config::Engine::Auto => EngineChoice::Auto,
        config::Engine::Uring => EngineChoice::Uring,
        config::Engine::Portable => EngineChoice::Portable,
    }
}

/// What `auto` stands for: measured on loopback, BBR without its queue discipline takes twice the
/// CPU per byte of reno, and on a LAN nothing is gained by pacing.
const LAN_CONGESTION: &str = "reno";

fn congestion(setting: &CongestionControl) -> Result<Congestion, NodeError> {
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

fn worker_limits(limits: &config::Limits, workers: usize, budget: &Budget) -> WorkerLimits {
    WorkerLimits {
        receive_bytes_max: budget.receive_bytes as usize / workers.max(1),
        pipes_max: budget.pipes_per_worker,
        stall_max: limits.stall_timeout.value,
        progress_bytes_per_s: limits.progress_per_s.value,
        drain_max: limits.drain_timeout.value,
        ..Default::default()
    }
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

fn nfs_server(
    effective: &Effective,
    volumes: &volumes::Volumes,
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
        LocalPorts::Owner => towline_nfs::LocalPorts::Owner,
        LocalPorts::Any => towline_nfs::LocalPorts::Any,
    };
    let lease_seconds = u32::try_from(effective.nfs_lease.value.as_secs()).unwrap_or(u32::MAX);
    let settings = towline_nfs::v4::Settings {
        lease_seconds,
        ledger: Some(effective.node.data.value.join(".towline/nfs4.ledger")),
    };
    let v4 = effective.nfs_v4.value.then_some(settings);
    let settings = towline_nfs::Settings {
        ports,
        local_ports,
        v4,
    };
    let server = towline_nfs::Server::new(volumes.exports.clone(), settings)
        .map_err(|error| system("cannot begin the ledger of NFSv4 clients", error))?;
    volumes::announce_changes(volumes, &server);
    Ok(server)
}

/// Gives every worker its own socket of each listener.
fn spread(
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
