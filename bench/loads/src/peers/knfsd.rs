//! towline against the kernel's own NFS server, on a machine whose kernel has one.
//!
//! `bench/peers/knfsd` runs this inside a guest where the host's kernel has none. Invariant: the
//! kernel's server is already running and exports the data directory's volumes; its `nfsd`
//! threads are bound to the server's core and measured by their own time. Not promised: the
//! memory-to-memory figures of a real machine, when it runs in an emulated one.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Result, ensure};

use super::nfs::{Exported, all_loads, exported, measure, start_subject};
use super::{Settings, Subject};
use crate::cpu::{self, CpuMeter, kernel_threads};
use crate::data::Data;
use crate::nfs_session::Endpoint;
use crate::table::{Marks, Row};

/// Runs every row against the kernel's server, whose MOUNT program listens on `mount_port`.
///
/// # Errors
/// Fails when no kernel server runs, towline cannot be started or a reply is wrong.
pub fn compare(settings: &Settings, mount_port: u16, directory: &Path) -> Result<Vec<Row>> {
    let threads = kernel_threads("nfsd");
    ensure!(
        !threads.is_empty(),
        "no nfsd threads: the kernel's NFS server does not run here"
    );
    ensure!(
        !matches!(settings.subject, Subject::SamePeer),
        "there is only one kernel server"
    );
    let data = Data::prepare(&settings.data, settings.hot_bytes, false)?;
    cpu::pin_to_client_core()?;
    for thread in &threads {
        cpu::pin_other(*thread, cpu::SERVER_CORE)?;
    }
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let endpoint = Endpoint {
        nfs: local(2049),
        mount: local(mount_port),
    };
    let prefix = data.directory.display().to_string();
    let peer = Exported::find("knfsd", endpoint, CpuMeter::new(threads), &prefix)?;
    let subject_server = start_subject(settings, &data, directory)?;
    let subject = exported(subject_server.as_ref())?;
    let marks = |throughput_min, cpu_max| Marks {
        throughput_min: Some(throughput_min),
        cpu_max: Some(cpu_max),
        throughput_goal: None,
    };
    let goal = Marks {
        throughput_goal: Some(1.0),
        ..Marks::default()
    };
    let nothing = Marks::default();
    let cases = all_loads(
        &data,
        [
            goal,
            marks(1.5, 0.5),
            marks(3.0, 0.3),
            nothing,
            marks(4.0, 0.2),
            nothing,
        ],
    );
    measure(settings, &data, cases, &peer, subject.as_ref())
}
