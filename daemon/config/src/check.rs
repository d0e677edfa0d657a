//! Puts defaults, file and command line together, in this order of rising weight.
//!
//! Invariant: every key of the file is judged even after the first problem, so an operator sees
//! all of them at once. The rules for volumes are in [`crate::volume_check`].

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::checker::{Checker, networks};
use crate::effective::{
    BENCH_PORT_DEFAULT, Bench, CongestionControl, Effective, Engine, HTTP_PORT_DEFAULT, Io, Listen,
    LocalPorts, Log, LogFormat, NFS_LEASE_DEFAULT, NFS_PORT_DEFAULT, Node, Origin, Overrides,
    Portmap, Setting, TUNE_PORT_DEFAULT, Tune,
};
use crate::error::{ConfigError, Problem};
use crate::file::{self, At, File, Text};
use crate::limits_check;
use crate::listen_check;
use crate::models_check;
use crate::s3_check;
use crate::surroundings::Surroundings;
use crate::tls_check;
use crate::volume_check;
use crate::whole;

/// Longest node name, in bytes: a DNS label.
const NAME_BYTES_MAX: usize = 63;

/// Highest rate of a link test in Mbit/s that can be named: the fastest links have 800,000.
const BENCH_RATE_MBIT_MAX: u32 = 1_000_000;

/// Most worker threads: one per core of the largest machines.
const WORKERS_MAX: u16 = 256;

/// Longest name of a congestion control, in bytes: `TCP_CA_NAME_MAX` of the kernel less its NUL.
const CONGESTION_BYTES_MAX: usize = 15;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// See [`Effective::load`].
pub(crate) fn load(overrides: &Overrides, around: &Surroundings) -> Result<Effective, ConfigError> {
    let alone = |problem: Problem| ConfigError {
        problems: vec![problem],
    };
    let text = match &overrides.config {
        None => None,
        Some(path) => Some(Text::read(path).map_err(alone)?),
    };
    let (file, problems) = match &text {
        None => (File::default(), Vec::new()),
        Some(text) => whole::parse(text),
    };
    let mut checker = Checker::new(text.as_ref(), around.home.clone());
    checker.problems = problems;
    let check = &mut checker;
    let node = node(check, &file.node, overrides, around);
    let mut volumes = volume_check::volumes(check, file.volumes.as_ref(), &node.data.value);
    allow(check, &mut volumes, &overrides.allow);
    let listen = listen(check, &file.listen, overrides);
    let s3_keys = s3_check::keys(check, &file.s3, &listen);
    let effective = Effective {
        io: io(check, &file.io),
        limits: limits_check::limits(check, &file.limits),
        tls: tls_check::tls(check, &file.tls),
        log: log(check, &file.log),
        tune: tune(check, &file.tune, &listen),
        local_ports: check.word(
            &file.nfs.local_ports,
            "nfs.local_ports",
            LocalPorts::Owner,
            &[("owner", LocalPorts::Owner), ("any", LocalPorts::Any)],
        ),
        nfs_v4: check.any(&file.nfs.v4, true),
        nfs_lease: check.period(
            &file.nfs.lease,
            "nfs.lease",
            NFS_LEASE_DEFAULT,
            10 * SECOND..=600 * SECOND,
        ),
        bench: bench(check, &file.bench),
        file: overrides.config.clone(),
        node,
        listen,
        s3_keys,
        models: models_check::models(check, &file.models),
        volumes,
        notes: Vec::new(),
    };
    reach_notes(check, &effective);
    if checker.problems.is_empty() {
        let notes = checker.notes;
        Ok(Effective { notes, ..effective })
    } else {
        let mut problems = checker.problems;
        problems.sort_by_key(|problem| problem.place.line());
        Err(ConfigError { problems })
    }
}

fn node(
    check: &mut Checker<'_>,
    file: &file::Node,
    overrides: &Overrides,
    around: &Surroundings,
) -> Node {
    let name = check.any(&file.name, default_name(&around.host));
    if let Some(at) = &file.name
        && !is_name(&name.value)
    {
        check.refuse(
            at.span().start,
            "node.name",
            "that is not a name for a node",
            "write 1 to 63 letters, digits, '-', '_' or '.'",
        );
    }
    let data = match (&overrides.data, &file.data) {
        (Some(path), _) => Setting {
            value: path.clone(),
            origin: Origin::CommandLine("--data"),
        },
        (None, Some(at)) => check.path(at),
        (None, None) => {
            let path = around.data();
            if path.is_none() {
                check.refuse_option(
                    "--data",
                    "there is no home directory to keep data in",
                    "name a directory with --data",
                );
            }
            Setting::default_of(path.unwrap_or_default())
        }
    };
    if data.value.exists() && !data.value.is_dir() {
        let what = format!("{} is not a directory", data.value.display());
        let instead = "name a directory, existing or to be made";
        match &file.data {
            Some(at) if overrides.data.is_none() => {
                check.refuse(at.span().start, "node.data", what, instead);
            }
            Some(_) | None => check.refuse_option("--data", what, instead),
        }
    }
    Node { name, data }
}

/// The host's name as far as it can be a node's.
fn default_name(host: &str) -> String {
    let kept = |character: &char| character.is_ascii_alphanumeric() || "-_.".contains(*character);
    let name: String = host.chars().filter(kept).take(NAME_BYTES_MAX).collect();
    if name.is_empty() {
        "towline".to_owned()
    } else {
        name
    }
}

fn is_name(name: &str) -> bool {
    name == default_name(name)
}

fn listen(check: &mut Checker<'_>, file: &file::Listen, overrides: &Overrides) -> Listen {
    let mut addresses = Setting::default_of(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    if let Some(at) = &file.addresses {
        let mut list = Vec::new();
        for written in at.get_ref() {
            match written.get_ref().parse() {
                Ok(address) => list.push(address),
                Err(_) => check.refuse(
                    written.span().start,
                    "listen.addresses",
                    format!("\"{}\" is not an address", written.get_ref().escape_debug()),
                    "write addresses of this host without a port, or \"0.0.0.0\" for all of them",
                ),
            }
        }
        if at.get_ref().is_empty() {
            check.refuse(
                at.span().start,
                "listen.addresses",
                "the list is empty",
                "write at least one address, or leave the key out for 127.0.0.1",
            );
        }
        addresses = check.here(at, list);
    }
    if !overrides.listen.is_empty() {
        addresses = Setting {
            value: overrides.listen.clone(),
            origin: Origin::CommandLine("--listen"),
        };
    }
    let http = port(
        check,
        &file.http_port,
        "listen.http_port",
        HTTP_PORT_DEFAULT,
    );
    let nfs = port(check, &file.nfs_port, "listen.nfs_port", NFS_PORT_DEFAULT);
    let http_port = overridden(http, overrides.http_port, "--http-port");
    let nfs_port = overridden(nfs, overrides.nfs_port, "--nfs-port");
    if http_port.value == nfs_port.value && http_port.value != 0 {
        check.refuse_option(
            "listen",
            format!("HTTP and NFS both want port {}", http_port.value),
            "give one of them another port",
        );
    }
    let mut taken = vec![("HTTP", http_port.value), ("NFS", nfs_port.value)];
    let s3_port = optional_port(check, (&file.s3_port, "listen.s3_port"), &taken);
    taken.extend(s3_port.value.map(|port| ("S3", port)));
    let hub_port = optional_port(check, (&file.hub_port, "listen.hub_port"), &taken);
    let words = [("auto", Portmap::Auto), ("off", Portmap::Off)];
    Listen {
        addresses,
        s3_port,
        hub_port,
        http_port,
        nfs_port,
        portmap: check.word(&file.portmap, "listen.portmap", Portmap::Auto, &words),
        names: listen_check::names(check, &file.names),
        origins: listen_check::origins(check, &file.origins),
    }
}

pub(crate) fn port(check: &mut Checker<'_>, at: &At<i64>, key: &str, default: u16) -> Setting<u16> {
    check.number(at, key, default, 0..=u16::MAX)
}

/// A port of what is served only where one is named; `taken` are the ports of others.
fn optional_port(
    check: &mut Checker<'_>,
    (at, key): (&At<i64>, &str),
    taken: &[(&str, u16)],
) -> Setting<Option<u16>> {
    let Some(written) = at else {
        return Setting::default_of(None);
    };
    let port = check.number(at, key, 0, 0..=u16::MAX);
    if let Some((name, _)) = taken.iter().find(|(_, other)| *other == port.value)
        && port.value != 0
    {
        check.refuse(
            written.span().start,
            key,
            format!("{name} has port {} already", port.value),
            "give one of them another port, or leave the key out",
        );
    }
    check.here(written, Some(port.value))
}

fn overridden<T>(setting: Setting<T>, value: Option<T>, option: &'static str) -> Setting<T> {
    match value {
        None => setting,
        Some(value) => Setting {
            value,
            origin: Origin::CommandLine(option),
        },
    }
}

fn io(check: &mut Checker<'_>, file: &file::Io) -> Io {
    let engines = [
        ("auto", Engine::Auto),
        ("uring", Engine::Uring),
        ("portable", Engine::Portable),
    ];
    let mut workers = Setting::default_of(None);
    if let Some(at) = &file.workers {
        let number = at.get_ref().as_integer().map(u16::try_from);
        match (number, at.get_ref().as_str()) {
            (Some(Ok(number)), _) if (1..=WORKERS_MAX).contains(&number) => {
                workers = check.here(at, Some(number));
            }
            (_, Some("auto")) => workers = check.here(at, None),
            _ => check.refuse(
                at.span().start,
                "io.workers",
                format!("{} is no number of workers", at.get_ref()),
                format!("write \"auto\" for one per core, or a number from 1 to {WORKERS_MAX}"),
            ),
        }
    }
    let mut congestion_control = Setting::default_of(CongestionControl::Auto);
    if let Some(at) = &file.congestion_control {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        match at.get_ref().as_str() {
            "auto" => congestion_control = check.here(at, CongestionControl::Auto),
            "host" => congestion_control = check.here(at, CongestionControl::Host),
            name if (1..=CONGESTION_BYTES_MAX).contains(&name.len())
                && name.bytes().all(is_part) =>
            {
                congestion_control = check.here(at, CongestionControl::Named(name.to_owned()));
            }
            _ => check.refuse(
                at.span().start,
                "io.congestion_control",
                "that is not the name of a congestion control",
                "write \"auto\", \"host\", or a name from \
                 /proc/sys/net/ipv4/tcp_allowed_congestion_control",
            ),
        }
    }
    Io {
        engine: check.word(&file.engine, "io.engine", Engine::Auto, &engines),
        workers,
        congestion_control,
    }
}

fn tune(check: &mut Checker<'_>, file: &file::Tune, listen: &Listen) -> Tune {
    let answer = check.any(&file.answer, true);
    let port = port(check, &file.port, "tune.port", TUNE_PORT_DEFAULT);
    let taken = [("HTTP", &listen.http_port), ("NFS", &listen.nfs_port)];
    let clash = taken.iter().find(|(_, other)| other.value == port.value);
    // The default gives way to what somebody asked for.
    if let (Some((name, _)), Some(at)) = (clash, &file.port)
        && answer.value
        && port.value != 0
    {
        check.refuse(
            at.span().start,
            "tune.port",
            format!("{name} has port {} already", port.value),
            "give one of them another port, or write answer = false",
        );
    }
    Tune { answer, port }
}

fn bench(check: &mut Checker<'_>, file: &file::Bench) -> Bench {
    Bench {
        iperf3: check.any(&file.iperf3, false),
        port: port(check, &file.port, "bench.port", BENCH_PORT_DEFAULT),
        allow: check.networks(&file.allow, "bench.allow"),
        time_max: check.period(&file.time_max, "bench.time_max", 60 * SECOND, SECOND..=DAY),
        rate_max_mbit: check.number(
            &file.rate_max_mbit,
            "bench.rate_max_mbit",
            0,
            0..=BENCH_RATE_MBIT_MAX,
        ),
    }
}

fn log(check: &mut Checker<'_>, file: &file::Log) -> Log {
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let levels = ["error", "warn", "info", "debug", "trace"].map(|level| (level, level));
    Log {
        format: check.word(&file.format, "log.format", LogFormat::Text, &formats),
        level: check.word(&file.level, "log.level", "info", &levels),
    }
}

/// Opens every volume to what `--allow` names, for writing too where it can be written.
fn allow(check: &mut Checker<'_>, volumes: &mut [crate::effective::Volume], options: &[String]) {
    for text in options {
        let list = match networks(text) {
            Ok(list) => list,
            Err(instead) => {
                let what = format!(
                    "\"{}\" is not an address or range of addresses",
                    text.escape_debug()
                );
                check.refuse_option("--allow", what, instead);
                continue;
            }
        };
        for setting in volumes
            .iter_mut()
            .flat_map(|volume| [&mut volume.allow, &mut volume.allow_write])
        {
            let known = setting.value.clone();
            setting
                .value
                .extend(list.iter().filter(|net| !known.contains(net)));
            setting.origin = Origin::CommandLine("--allow");
        }
    }
}

/// Tells where listeners and allow lists do not fit together.
fn reach_notes(check: &mut Checker<'_>, effective: &Effective) {
    let is_own = |net: &ipnet::IpNet| net.contains(&IpAddr::V4(Ipv4Addr::LOCALHOST));
    for volume in &effective.volumes {
        let mut lists = volume.allow.value.iter().chain(&volume.allow_write.value);
        if !lists.any(is_own) {
            check.notes.push(format!(
                "volume '{}' is not open to this very host: add \"127.0.0.0/8\" to its allow if \
                 programs here should reach it",
                volume.name
            ));
        }
    }
    let is_outside = |address: &IpAddr| !address.to_canonical().is_loopback();
    let listens = effective.listen.addresses.value.iter().any(is_outside);
    let allows = effective.volumes.iter().any(|volume| {
        let lists = volume.allow.value.iter().chain(&volume.allow_write.value);
        lists
            .map(ipnet::IpNet::addr)
            .any(|address| is_outside(&address))
    });
    if listens && !allows {
        check.notes.push(
            "the node listens beyond this host, but no volume is open to anybody outside; \
             open them with --allow CIDR or allow = [\"CIDR\"]"
                .to_owned(),
        );
    }
    if allows && !listens {
        check.notes.push(
            "volumes are open to other hosts, but the node listens on this host only; \
             add --listen 0.0.0.0 or the address of one network"
                .to_owned(),
        );
    }
}
