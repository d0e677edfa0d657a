//! towline against nfs-ganesha: READ, WRITE, GETATTR and LOOKUP.
//!
//! Invariant: both servers export the same directories under the same names, to the same caller,
//! under reno. The rows and their loads are shared with the comparison with the kernel's server.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;

use super::{Settings, Subject, interleave};
use crate::cpu::{self, CpuMeter};
use crate::data::Data;
use crate::figures::Outcome;
use crate::namespace::set_congestion_control;
use crate::nfs_load::{Operation, Plan, run};
use crate::nfs_session::{Endpoint, lookup, mount};
use crate::servers::{Server, ganesha, towline};
use crate::table::{Marks, Row, Unit};
use towline_bench::rpc::Caller;

/// An ordinary user: root would be squashed, and files of loads are writable for everybody.
const CALLER: Caller = Caller {
    uid: 1000,
    gid: 1000,
};

/// A server with the handles that the loads need.
pub(super) struct Exported {
    pub(super) name: String,
    pub(super) endpoint: Endpoint,
    pub(super) meter: CpuMeter,
    hot: Vec<u8>,
    written: Vec<u8>,
    names: Vec<u8>,
}

impl Exported {
    /// Mounts the server's exports, whose paths begin with `prefix`.
    pub(super) fn find(
        name: &str,
        endpoint: Endpoint,
        meter: CpuMeter,
        prefix: &str,
    ) -> Result<Self> {
        let models = mount(endpoint, &format!("{prefix}/models"), CALLER)?;
        let projects = mount(endpoint, &format!("{prefix}/projects"), CALLER)?;
        Ok(Self {
            name: name.to_owned(),
            endpoint,
            meter,
            hot: lookup(endpoint, &models, "hot.bin", CALLER)?,
            written: lookup(endpoint, &projects, "written.bin", CALLER)?,
            names: lookup(endpoint, &models, "names", CALLER)?,
        })
    }
}

/// One row: its load and its marks.
pub(super) struct Case {
    pub(super) load: &'static str,
    pub(super) operation: Operation,
    pub(super) window: u32,
    pub(super) unit: Unit,
    pub(super) marks: Marks,
}

/// Runs every row against nfs-ganesha.
///
/// # Errors
/// Fails when a server cannot be started or a reply is wrong.
pub fn compare(settings: &Settings, directory: &Path) -> Result<Vec<Row>> {
    let data = Data::prepare(&settings.data, settings.hot_bytes, false)?;
    cpu::pin_to_client_core()?;
    set_congestion_control("reno")?;
    let peer_server = start_ganesha(12049, &data, directory)?;
    let peer = Exported::find("nfs-ganesha", at(12049, 12050), peer_server.meter(), "")?;
    let subject_server = start_subject(settings, &data, directory)?;
    let subject = exported(subject_server.as_ref())?;
    measure(
        settings,
        &data,
        ganesha_cases(&data),
        &peer,
        subject.as_ref(),
    )
}

/// Runs `cases` on both servers in turn.
pub(super) fn measure(
    settings: &Settings,
    data: &Data,
    cases: Vec<Case>,
    peer: &Exported,
    subject: Option<&Exported>,
) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for case in cases.into_iter().filter(|case| settings.wants(case.load)) {
        let mut row = Row {
            load: case.load.to_owned(),
            peer_name: peer.name.clone(),
            unit: case.unit,
            marks: case.marks,
            peer: Vec::new(),
            subject: Vec::new(),
        };
        let peer_side = || one_round(settings, &case, peer);
        let subject_side = subject.map(|side| || one_round(settings, &case, side));
        let subject_side = subject_side.as_ref().map(|side| side as super::Side);
        interleave(&mut row, settings.rounds, &peer_side, subject_side)?;
        rows.push(row);
    }
    // Written pages would otherwise reach the disk during somebody else's measurement.
    std::fs::File::open(data.written())?.sync_all()?;
    Ok(rows)
}

fn ganesha_cases(data: &Data) -> Vec<Case> {
    let marks = |throughput_min, throughput_goal, cpu_max| Marks {
        throughput_min: Some(throughput_min),
        throughput_goal: Some(throughput_goal),
        cpu_max: Some(cpu_max),
    };
    let nothing = Marks::default();
    all_loads(
        data,
        [
            marks(2.2, 2.5, 0.45),
            nothing,
            marks(6.0, 9.0, 0.2),
            marks(2.0, 2.4, 0.5),
            marks(8.0, 20.0, 0.15),
            marks(8.0, 20.0, 0.15),
        ],
    )
}

/// The six loads, each with its marks.
pub(super) fn all_loads(data: &Data, marks: [Marks; 6]) -> Vec<Case> {
    let read = |bytes, random| Operation::Read { bytes, random };
    let names = data.names();
    let loads = [
        ("READ 1 MiB, window 8", read(1 << 20, false), 8, Unit::Gib),
        (
            "READ 64 KiB random, window 16",
            read(64 << 10, true),
            16,
            Unit::Requests,
        ),
        (
            "READ 4 KiB random, window 32",
            read(4 << 10, true),
            32,
            Unit::Requests,
        ),
        (
            "WRITE UNSTABLE 1 MiB, window 8",
            Operation::Write { bytes: 1 << 20 },
            8,
            Unit::Gib,
        ),
        ("GETATTR, window 32", Operation::Getattr, 32, Unit::Requests),
        (
            "LOOKUP, window 32",
            Operation::Lookup { names },
            32,
            Unit::Requests,
        ),
    ];
    let rows = loads.into_iter().zip(marks);
    rows.map(|((load, operation, window, unit), marks)| Case {
        load,
        operation,
        window,
        unit,
        marks,
    })
    .collect()
}

fn one_round(settings: &Settings, case: &Case, side: &Exported) -> Result<Outcome> {
    let handle = match &case.operation {
        Operation::Read { .. } | Operation::Getattr => &side.hot,
        Operation::Write { .. } => &side.written,
        Operation::Lookup { .. } => &side.names,
    };
    let plan = Plan {
        endpoint: side.endpoint,
        caller: CALLER,
        connections: 1,
        window: case.window,
        operation: case.operation.clone(),
        handle: handle.clone(),
        file_bytes: settings.hot_bytes,
        warm_up: settings.warm_up(),
        measured: settings.measured,
    };
    run(&plan, &side.meter)
}

pub(super) fn at(nfs: u16, mount: u16) -> Endpoint {
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    Endpoint {
        nfs: local(nfs),
        mount: local(mount),
    }
}

fn start_ganesha(port: u16, data: &Data, base: &Path) -> Result<Server> {
    let directory = base.join(format!("ganesha-{port}"));
    std::fs::create_dir_all(&directory)?;
    ganesha(at(port, port + 1), &data.directory, &directory)
}

/// What a subject exports, if there is one.
pub(super) fn exported(subject: Option<&(Server, Endpoint)>) -> Result<Option<Exported>> {
    let find = |(server, endpoint): &(Server, Endpoint)| {
        Exported::find(server.name(), *endpoint, server.meter(), "")
    };
    subject.map(find).transpose()
}

pub(super) fn start_subject(
    settings: &Settings,
    data: &Data,
    base: &Path,
) -> Result<Option<(Server, Endpoint)>> {
    match &settings.subject {
        Subject::Nothing => Ok(None),
        Subject::SamePeer => {
            let server = start_ganesha(13049, data, base)?;
            Ok(Some((server, at(13049, 13050))))
        }
        Subject::Towline(choice) => {
            let endpoint = at(20049, 20049);
            let http = SocketAddr::from(([127, 0, 0, 1], 8420));
            let server = towline(choice, (http, endpoint.nfs), &data.directory, base, "")?;
            Ok(Some((server, endpoint)))
        }
    }
}
