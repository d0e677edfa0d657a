//! towline against nginx: large files, short ranges, and hot ones beside cold streams.
//!
//! Invariant: both servers serve the same files under the same URL paths. The row "host default"
//! leaves the host's congestion control to both; the others run under reno for both.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;

use super::{Settings, Subject, interleave, of};
use crate::cpu;
use crate::data::{COLD_FILES, Data};
use crate::figures::Outcome;
use crate::http_load::{Plan, Stream, run};
use crate::namespace::{congestion_control, set_congestion_control};
use crate::servers::{NginxBodies, Server, nginx, towline};
use crate::table::{Marks, Row, Unit};

/// URL path of the hot file on every server.
const HOT: &str = "/files/models/hot.bin";

struct Listening {
    server: Server,
    address: SocketAddr,
}

/// Runs every HTTP row.
///
/// # Errors
/// Fails when a server cannot be started or a reply is wrong.
pub fn compare(settings: &Settings, directory: &Path) -> Result<Vec<Row>> {
    let data = Data::prepare(&settings.data, settings.hot_bytes, settings.wants("cold"))?;
    cpu::pin_to_client_core()?;
    let host_default = congestion_control()?;
    let peer = start_nginx(8081, &data, directory, NginxBodies::Sendfile)?;
    let threads = start_nginx(8082, &data, directory, NginxBodies::AioThreads)?;
    let open_files = start_nginx(8084, &data, directory, NginxBodies::OpenFileCache)?;
    let subject = start_subject(settings, &data, directory)?;
    let mut rows = Vec::new();
    for case in cases(&host_default) {
        if !settings.wants(&case.load) {
            continue;
        }
        set_congestion_control(&case.congestion_control)?;
        let against = match case.peer {
            NginxBodies::Sendfile => &peer,
            NginxBodies::AioThreads => &threads,
            NginxBodies::OpenFileCache => &open_files,
        };
        let mut row = Row {
            load: case.load.clone(),
            peer_name: against.server.name().to_owned(),
            unit: case.unit,
            marks: case.marks,
            peer: Vec::new(),
            subject: Vec::new(),
        };
        let round = |side: &Listening| one_round(settings, &data, &case, side);
        let peer_side = || round(against);
        // The second copy of nginx is a plain one: against others it would say nothing.
        let is_plain = case.peer == NginxBodies::Sendfile;
        let comparable = is_plain || !matches!(settings.subject, Subject::SamePeer);
        let subject = subject.as_ref().filter(|_| comparable);
        let subject_side = subject.map(|side| move || round(side));
        let subject_side = subject_side.as_ref().map(|side| side as super::Side);
        interleave(&mut row, settings.rounds, &peer_side, subject_side)?;
        rows.push(row);
    }
    set_congestion_control(&host_default)?;
    Ok(rows)
}

struct Case {
    load: String,
    kind: Kind,
    unit: Unit,
    marks: Marks,
    congestion_control: String,
    peer: NginxBodies,
}

#[derive(Clone, Copy)]
enum Kind {
    Whole,
    Ranges,
    UnderCold,
}

fn cases(host_default: &str) -> Vec<Case> {
    let marks = |throughput_min, throughput_goal, cpu_max| Marks {
        throughput_min: Some(throughput_min),
        throughput_goal,
        cpu_max,
    };
    let case = |load: &str, kind, unit, marks| Case {
        load: load.to_owned(),
        kind,
        unit,
        marks,
        congestion_control: "reno".to_owned(),
        peer: NginxBodies::Sendfile,
    };
    let mut left_alone = Marks::default();
    if host_default == "bbr" {
        left_alone = marks(1.8, None, Some(0.55));
    }
    let whole = "large hot GET, 4 connections";
    let ranges = "64 KiB ranges, 16 connections";
    let cold = "hot 64 KiB under cold load";
    vec![
        case(
            whole,
            Kind::Whole,
            Unit::Gib,
            marks(0.95, Some(1.10), Some(1.05)),
        ),
        Case {
            congestion_control: host_default.to_owned(),
            ..case(
                &format!("{whole}, {host_default}"),
                Kind::Whole,
                Unit::Gib,
                left_alone,
            )
        },
        case(
            ranges,
            Kind::Ranges,
            Unit::Requests,
            marks(1.2, Some(1.4), Some(0.85)),
        ),
        Case {
            peer: NginxBodies::OpenFileCache,
            ..case(
                ranges,
                Kind::Ranges,
                Unit::Requests,
                marks(1.0, Some(1.2), Some(1.0)),
            )
        },
        case(
            cold,
            Kind::UnderCold,
            Unit::Requests,
            marks(5.0, None, None),
        ),
        Case {
            peer: NginxBodies::AioThreads,
            ..case(
                cold,
                Kind::UnderCold,
                Unit::Requests,
                marks(1.5, None, None),
            )
        },
    ]
}

fn one_round(settings: &Settings, data: &Data, case: &Case, side: &Listening) -> Result<Outcome> {
    let whole = || {
        (
            "whole",
            Stream::Whole {
                path: HOT.to_owned(),
            },
        )
    };
    let ranges = || {
        let path = HOT.to_owned();
        (
            "ranges",
            Stream::Ranges {
                path,
                file_bytes: data.hot_bytes,
                range_bytes: 64 << 10,
            },
        )
    };
    let cold = |index: usize| {
        let path = format!("/files/models/cold-{index}.bin");
        (
            "cold",
            Stream::Cold {
                path,
                file: data.cold(index),
            },
        )
    };
    let (label, streams) = match case.kind {
        Kind::Whole => ("whole", (0..4).map(|_| whole()).collect()),
        Kind::Ranges => ("ranges", (0..16).map(|_| ranges()).collect()),
        Kind::UnderCold => (
            "ranges",
            (0..COLD_FILES)
                .map(cold)
                .chain((0..8).map(|_| ranges()))
                .collect(),
        ),
    };
    let plan = Plan {
        server: side.address,
        streams,
        warm_up: settings.warm_up(),
        measured: settings.measured,
    };
    let mut outcomes = run(&plan, &side.server.meter())?;
    Ok(of(&mut outcomes, label))
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn start_nginx(port: u16, data: &Data, base: &Path, bodies: NginxBodies) -> Result<Listening> {
    let directory = base.join(format!("nginx-{port}"));
    std::fs::create_dir_all(&directory)?;
    let server = nginx(local(port), &data.directory, &directory, bodies)?;
    Ok(Listening {
        server,
        address: local(port),
    })
}

fn start_subject(settings: &Settings, data: &Data, base: &Path) -> Result<Option<Listening>> {
    match &settings.subject {
        Subject::Nothing => Ok(None),
        Subject::SamePeer => start_nginx(8083, data, base, NginxBodies::Sendfile).map(Some),
        Subject::Towline(choice) => {
            let address = local(8420);
            let server = towline(choice, (address, local(2049)), &data.directory, base, "")?;
            Ok(Some(Listening { server, address }))
        }
    }
}
