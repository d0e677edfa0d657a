//! towline against nginx over HTTPS: large files and ranges under TLS 1.3.
//!
//! Invariant: both servers have the same certificate and serve the same files under the same URL
//! paths, and the same client chooses the cipher. Not promised: kernel TLS; each server uses it
//! where its build and this kernel have it, and the table does not say.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};

use super::{Settings, Side, Subject, interleave};
use crate::cpu;
use crate::data::Data;
use crate::figures::Outcome;
use crate::https_load::{Plan, client, run};
use crate::servers::{NginxTls, Server, nginx_tls, towline};
use crate::table::{Marks, Row, Unit};

/// URL path of the hot file on every server.
const HOT: &str = "/files/models/hot.bin";

/// Bytes of a range.
const RANGE_BYTES: u64 = 64 << 10;

/// Runs every HTTPS row.
///
/// # Errors
/// Fails when a server cannot be started or a reply is wrong.
pub fn compare(settings: &Settings, directory: &Path) -> Result<Vec<Row>> {
    let data = Data::prepare(&settings.data, settings.hot_bytes, false)?;
    let (certificate, key) = certificate(directory)?;
    let config = client(&certificate)?;
    cpu::pin_to_client_core()?;
    let pair = NginxTls {
        certificate: certificate.clone(),
        key: key.clone(),
    };
    let peer = nginx_at(8481, &data, directory, &pair)?;
    let subject: Option<(Server, SocketAddr)> = match &settings.subject {
        Subject::Nothing => None,
        Subject::SamePeer => Some((nginx_at(8482, &data, directory, &pair)?, local(8482))),
        Subject::Towline(choice) => {
            let table =
                format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\nport = 8443\n");
            let (http, nfs) = (local(8420), local(2049));
            let server = towline(choice, (http, nfs), &data.directory, directory, &table)?;
            Some((server, local(8443)))
        }
    };
    let mut rows = Vec::new();
    for (load, connections, range, unit) in [
        ("HTTPS large hot GET, 4 connections", 4, None, Unit::Gib),
        (
            "HTTPS 64 KiB ranges, 16 connections",
            16,
            Some((RANGE_BYTES, data.hot_bytes)),
            Unit::Requests,
        ),
    ] {
        if !settings.wants(load) {
            continue;
        }
        let mut row = Row {
            load: load.to_owned(),
            peer_name: peer.name().to_owned(),
            unit,
            marks: Marks {
                throughput_min: Some(0.9),
                throughput_goal: None,
                cpu_max: Some(1.0),
            },
            peer: Vec::new(),
            subject: Vec::new(),
        };
        let round = |server: &Server, address: SocketAddr| -> Result<Outcome> {
            let plan = Plan {
                server: address,
                connections,
                path: HOT.to_owned(),
                range,
                warm_up: settings.warm_up(),
                measured: settings.measured,
            };
            run(&plan, &config, &server.meter())
        };
        let peer_side = || round(&peer, local(8481));
        let subject_side = subject
            .as_ref()
            .map(|(server, address)| move || round(server, *address));
        let subject_side = subject_side.as_ref().map(|side| side as Side);
        interleave(&mut row, settings.rounds, &peer_side, subject_side)?;
        rows.push(row);
    }
    Ok(rows)
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn nginx_at(port: u16, data: &Data, base: &Path, pair: &NginxTls) -> Result<Server> {
    let directory = base.join(format!("nginx-{port}"));
    std::fs::create_dir_all(&directory)?;
    nginx_tls(local(port), &data.directory, &directory, pair)
}

/// A certificate that vouches for itself, by openssl.
fn certificate(directory: &Path) -> Result<(PathBuf, PathBuf)> {
    let (certificate, key) = (directory.join("node.pem"), directory.join("node.key"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=bench"])
        .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .stderr(Stdio::null())
        .status();
    ensure!(
        made.is_ok_and(|status| status.success()),
        "openssl makes no certificate: apt-get install openssl"
    );
    Ok((certificate, key))
}
