//! The settings in force, typed, each with the place that it came from.
//!
//! Invariant: an [`Effective`] that exists was checked whole; nothing in it needs a second look
//! before use, except that the world may have moved on (a path that was there is gone).

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::check;
use crate::error::ConfigError;
use crate::limits::Limits;
use crate::secret::Secret;
use crate::surroundings::Surroundings;

/// Port of the HTTP face and the API by default.
pub const HTTP_PORT_DEFAULT: u16 = 8420;

/// Port of NFS and MOUNT by default (RFC 1813 section 2.1). When nobody asked for it and it is
/// taken, the node takes the next free one.
pub const NFS_PORT_DEFAULT: u16 = 2049;

/// The lease of NFS version 4 by default: long enough for a client that reboots its switch.
pub const NFS_LEASE_DEFAULT: Duration = Duration::from_secs(60);

/// Port, TCP and UDP, on which `towline tune check --peer` is answered by default. When nobody
/// asked for it and it is taken, the node says so and serves without it.
pub const TUNE_PORT_DEFAULT: u16 = 8421;

/// Port of HTTP over TLS by default.
pub const TLS_PORT_DEFAULT: u16 = 8443;

/// Port on which a node answers link measurements: that of `iperf3`.
pub const BENCH_PORT_DEFAULT: u16 = 5201;

/// Where a value came from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// The file, at this line from 1.
    File(usize),
    /// This option of the command line.
    CommandLine(&'static str),
}

/// A value with its origin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it came from.
    pub origin: Origin,
}

impl<T> Setting<T> {
    /// A value that nobody asked for.
    pub fn default_of(value: T) -> Self {
        Self {
            value,
            origin: Origin::Default,
        }
    }

    /// Whether nobody asked for it.
    pub fn is_default(&self) -> bool {
        self.origin == Origin::Default
    }
}

/// What the command line says; it wins over the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--config`: the file.
    pub config: Option<PathBuf>,
    /// `--data`.
    pub data: Option<PathBuf>,
    /// `--listen`, any number; replaces the addresses.
    pub listen: Vec<IpAddr>,
    /// `--http-port`.
    pub http_port: Option<u16>,
    /// `--nfs-port`.
    pub nfs_port: Option<u16>,
    /// `--allow`, any number: addresses or ranges that may read and write, in every volume,
    /// beside those that may already.
    pub allow: Vec<String>,
}

/// Whether the portmapper is served or told (RFC 1833).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Portmap {
    /// Port 111 when allowed and free, else a registration with what runs there, else nothing.
    Auto,
    /// Never.
    Off,
}

/// Which readiness engine the workers use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Engine {
    /// io_uring where the kernel allows it, else portable.
    Auto,
    /// io_uring or no start.
    Uring,
    /// Threads read cold data instead of io_uring.
    Portable,
}

/// TCP congestion control of accepted sockets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CongestionControl {
    /// reno for loopback and LAN peers when allowed, the host's for the rest.
    Auto,
    /// The host's.
    Host,
    /// This one, as `/proc/sys/net/ipv4/tcp_allowed_congestion_control` names it.
    Named(String),
}

/// Form of the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Which source ports of this very host an NFS client may use (threat N13).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LocalPorts {
    /// Below 1024, or a port that belongs to root or to the node's own user.
    Owner,
    /// Any: every local user may claim any uid.
    Any,
}

/// What a volume is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum VolumeKind {
    /// Read-only.
    Model,
    /// Read-write, synchronous.
    Project,
    /// Read-write, asynchronous, bounded.
    Cache,
}

/// Which callers become the anonymous user.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Squash {
    /// uid 0 and gid 0.
    Root,
    /// Everybody.
    All,
    /// Nobody.
    None,
}

/// What a token opens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenReach {
    /// Reading.
    Read,
    /// Reading and writing.
    Write,
}

/// `[node]`
#[derive(Clone, Debug)]
pub struct Node {
    /// What the node calls itself; the host's name by default.
    pub name: Setting<String>,
    /// Where volumes without a path, keys and state lie.
    pub data: Setting<PathBuf>,
}

/// `[listen]`
#[derive(Clone, Debug)]
pub struct Listen {
    /// Addresses of every listener; at least one, 127.0.0.1 by default.
    pub addresses: Setting<Vec<IpAddr>>,
    /// HTTP; 0 is any free port.
    pub http_port: Setting<u16>,
    /// NFS and MOUNT; 0 is any free port. If the origin is the default and the port is taken,
    /// the next free one is to be used.
    pub nfs_port: Setting<u16>,
    /// Read-only S3; 0 is any free port, `None`: not served.
    pub s3_port: Setting<Option<u16>>,
    /// A port of the hub's own, for clients that take the path of an endpoint for something else;
    /// 0 is any free port, `None`: below `/hf` of HTTP only.
    pub hub_port: Setting<Option<u16>>,
    /// The portmapper.
    pub portmap: Setting<Portmap>,
    /// Names under which the node is asked besides its own, in lower case.
    pub names: Setting<Vec<String>>,
    /// Web pages that may use it: scheme, host and port, as browsers send them.
    pub origins: Setting<Vec<String>>,
}

/// `[models]`
#[derive(Clone, Debug)]
pub struct Models {
    /// Whether a revision must be signed by a trusted key to be taken and served.
    pub require_signature: Setting<bool>,
    /// Whose signatures count, beside that of `signing_key`.
    pub trusted_keys: Setting<Vec<TrustedKey>>,
    /// The file of the key with which this node signs what is published and pulled here.
    pub signing_key: Setting<Option<PathBuf>>,
    /// `[[models.tokens]]`: who may read private models and publish over HTTP; none: nobody.
    pub tokens: Vec<ModelToken>,
}

/// A public key whose word counts, as `ed25519:HEX NAME`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TrustedKey {
    /// The 32 bytes of the Ed25519 key (RFC 8032).
    pub key: [u8; 32],
    /// Whose it is, in the operator's words; may be empty.
    pub name: String,
}

impl std::fmt::Display for TrustedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(TRUSTED_KEY_START)?;
        self.key
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))?;
        match self.name.as_str() {
            "" => Ok(()),
            name => write!(f, " {name}"),
        }
    }
}

/// How the text of a public key begins; 64 hex digits follow.
pub const TRUSTED_KEY_START: &str = "ed25519:";

/// What a token of `[[models.tokens]]` may do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ModelRights {
    /// Read; that such a token exists makes the models below its prefix private.
    Read,
    /// Publish, and read what is private.
    Publish,
}

/// `[[models.tokens]]`: rights to the models whose names begin with the prefix.
#[derive(Clone, Debug)]
pub struct ModelToken {
    /// What the names of models begin with, such as `acme/`; empty: every model.
    pub prefix: Setting<String>,
    /// What it may do.
    pub rights: Setting<ModelRights>,
    /// The token, 16 to 1024 visible characters.
    pub secret: Secret,
}

/// `[[s3.keys]]`
#[derive(Clone, Debug)]
pub struct S3Key {
    /// The access key's id: 1 to 128 visible characters without `/` and `,`.
    pub id: Setting<String>,
    /// The secret access key, 16 to 1024 visible characters.
    pub secret: Secret,
    /// What the names of private models begin with that it may read; none: no private model.
    pub prefixes: Vec<String>,
}

/// `[io]`
#[derive(Clone, Debug)]
pub struct Io {
    /// Readiness engine.
    pub engine: Setting<Engine>,
    /// Worker threads, 1 to 256; `None`: one per core.
    pub workers: Setting<Option<u16>>,
    /// Congestion control.
    pub congestion_control: Setting<CongestionControl>,
}

/// `[bench]`
#[derive(Clone, Debug)]
pub struct Bench {
    /// Whether the node answers `towline bench link` and `iperf3 -c`.
    pub iperf3: Setting<bool>,
    /// Its port, TCP and UDP; 0 is any free port.
    pub port: Setting<u16>,
    /// Ranges of addresses that are answered beside this host.
    pub allow: Setting<Vec<IpNet>>,
    /// Longest test.
    pub time_max: Setting<Duration>,
    /// Highest rate of a test in Mbit/s; 0: no limit.
    pub rate_max_mbit: Setting<u32>,
}

/// `[tls]`
#[derive(Clone, Debug)]
pub struct Tls {
    /// PEM file with the certificate and its chain.
    pub certificate: Setting<PathBuf>,
    /// PEM file with the private key.
    pub key: Setting<PathBuf>,
    /// Port; 0 is any free port.
    pub port: Setting<u16>,
    /// Pairs for clients that name a host which they are valid for (SNI).
    pub more: Vec<TlsPair>,
}

/// `[[tls.more]]`
#[derive(Clone, Debug)]
pub struct TlsPair {
    /// PEM file with the certificate and its chain.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

/// `[tune]`
#[derive(Clone, Debug)]
pub struct Tune {
    /// Whether measurements of other hosts are answered: those that may reach a volume.
    pub answer: Setting<bool>,
    /// Port; 0 is any free port. If the origin is the default and the port is taken, the node
    /// serves without it.
    pub port: Setting<u16>,
}

/// `[log]`
#[derive(Clone, Debug)]
pub struct Log {
    /// Form.
    pub format: Setting<LogFormat>,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: Setting<&'static str>,
}

/// One volume.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Name: 1 to 64 letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// The line of its table; `None` for a default volume.
    pub line: Option<usize>,
    /// Kind.
    pub kind: Setting<VolumeKind>,
    /// Its directory. A default one is made when the node starts; a named one exists.
    pub path: Setting<PathBuf>,
    /// Whether the path must be a mount point: nothing is served before its disk is there.
    pub require_mount: Setting<bool>,
    /// No writing at all.
    pub read_only: Setting<bool>,
    /// Who may read.
    pub allow: Setting<Vec<IpNet>>,
    /// Who may write (and read).
    pub allow_write: Setting<Vec<IpNet>>,
    /// Who becomes the anonymous user.
    pub squash: Setting<Squash>,
    /// uid of the anonymous user.
    pub anonymous_uid: Setting<u32>,
    /// gid of the anonymous user.
    pub anonymous_gid: Setting<u32>,
    /// Bearer tokens for HTTP.
    pub tokens: Setting<Vec<(Secret, TokenReach)>>,
    /// Largest size of a cache in bytes.
    pub size_max: Setting<Option<u64>>,
    /// Age at which an unused file leaves a cache.
    pub age_max: Setting<Option<Duration>>,
}

/// All settings.
#[derive(Clone, Debug)]
pub struct Effective {
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// `[node]`
    pub node: Node,
    /// `[listen]`
    pub listen: Listen,
    /// `[io]`
    pub io: Io,
    /// `[limits]`
    pub limits: Limits,
    /// `[tls]`
    pub tls: Option<Tls>,
    /// `[log]`
    pub log: Log,
    /// `[tune]`
    pub tune: Tune,
    /// `[nfs] local_ports`
    pub local_ports: Setting<LocalPorts>,
    /// `[nfs] v4`: whether versions 4.1 and 4.2 are served beside version 3.
    pub nfs_v4: Setting<bool>,
    /// `[nfs] lease`: how long a client of version 4 keeps what it holds without a sign of life.
    pub nfs_lease: Setting<Duration>,
    /// `[bench]`
    pub bench: Bench,
    /// `[models]`
    pub models: Models,
    /// `[[s3.keys]]`: who may read over S3; none: whoever may reach the volume.
    pub s3_keys: Vec<S3Key>,
    /// The volumes in the order of the file.
    pub volumes: Vec<Volume>,
    /// What is allowed and yet probably not meant, in sentences.
    pub notes: Vec<String>,
}

impl Effective {
    /// Reads the file that `overrides` names, if any, and merges defaults, file and command
    /// line.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem that was found.
    pub fn load(overrides: &Overrides, around: &Surroundings) -> Result<Self, ConfigError> {
        check::load(overrides, around)
    }
}
