//! nfs-ganesha as a peer: its VFS back end, NFSv3 over TCP, no lock manager.
//!
//! Invariant: exports have the names towline gives them. Not promised: NFSv4, which is off so
//! that both servers do the same. Ganesha insists on a port mapper while it starts; one runs for
//! that moment only, so that port 111 is free afterwards.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{Server, program};
use crate::nfs_session::Endpoint;

/// Starts nfs-ganesha at `endpoint` for the volumes below `data`, with its files in `directory`.
///
/// # Errors
/// Fails when nfs-ganesha or rpcbind is not installed or does not start.
pub fn ganesha(endpoint: Endpoint, data: &Path, directory: &Path) -> Result<Server> {
    let mut configuration = format!(
        "NFS_CORE_PARAM {{ NFS_Port = {}; MNT_Port = {}; Protocols = 3; Enable_NLM = false;
  Enable_RQUOTA = false; mount_path_pseudo = true; }}
",
        endpoint.nfs.port(),
        endpoint.mount.port()
    );
    for (id, volume, access) in [
        (1, "models", "RO"),
        (2, "projects", "RW"),
        (3, "cache", "RW"),
    ] {
        configuration.push_str(&format!(
            "EXPORT {{ Export_Id = {id}; Path = {}/{volume}; Pseudo = /{volume};
  Access_Type = {access}; Protocols = 3; Transports = TCP; SecType = sys; FSAL {{ Name = VFS; }} }}
",
            data.display()
        ));
    }
    let file = directory.join("ganesha.conf");
    std::fs::write(&file, configuration)?;
    let portmapper = portmapper(directory)?;
    let log = directory.join("ganesha.log");
    let mut command = Command::new(program("ganesha.nfsd", "nfs-ganesha nfs-ganesha-vfs")?);
    command.arg("-F").arg("-f").arg(&file).arg("-L").arg(&log);
    command.arg("-p").arg(directory.join("ganesha.pid"));
    let output = directory.join("ganesha.out");
    let mut server = Server::start("nfs-ganesha", command, &output)?;
    server.wait_for(endpoint.nfs, &log)?;
    drop(portmapper);
    Ok(server)
}

fn portmapper(directory: &Path) -> Result<Server> {
    let mut command = Command::new(program("rpcbind", "rpcbind")?);
    command.args(["-f", "-i"]);
    let log = directory.join("rpcbind.log");
    let mut server = Server::start("rpcbind", command, &log)?;
    server.wait_for(SocketAddr::from(([127, 0, 0, 1], 111)), &log)?;
    Ok(server)
}
