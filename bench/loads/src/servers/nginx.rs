//! nginx as a peer: one worker, `sendfile on; tcp_nopush on`, no access log.
//!
//! Invariant: URL paths are the same as towline's (`/files/models/...`). Not promised: a tuned
//! nginx; this is what its manual recommends for files.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::{Server, program};

/// How nginx moves bodies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NginxBodies {
    /// `sendfile` on the event loop: a cold file blocks every connection of the worker.
    Sendfile,
    /// `sendfile` on a thread pool.
    AioThreads,
    /// `sendfile`, and open files kept: a name that was replaced goes on showing the old file for
    /// up to a second, which towline never does.
    OpenFileCache,
}

/// Starts nginx on `address` for the volumes below `data`, with its files in `directory`.
///
/// # Errors
/// Fails when nginx is not installed or does not start.
pub fn nginx(
    address: SocketAddr,
    data: &Path,
    directory: &Path,
    bodies: NginxBodies,
) -> Result<Server> {
    start((address, ""), data, directory, bodies, "")
}

/// A certificate with its key.
#[derive(Clone, Debug)]
pub struct NginxTls {
    /// PEM.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

/// The same over HTTPS, TLS 1.3 with the library's own settings.
///
/// # Errors
/// As [`nginx`].
pub fn nginx_tls(
    address: SocketAddr,
    data: &Path,
    directory: &Path,
    pair: &NginxTls,
) -> Result<Server> {
    let settings = format!(
        "ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.3; \
         ssl_conf_command Options KTLS;",
        pair.certificate.display(),
        pair.key.display()
    );
    let bodies = NginxBodies::Sendfile;
    start((address, "ssl"), data, directory, bodies, &settings)
}

fn start(
    (address, kind): (SocketAddr, &str),
    data: &Path,
    directory: &Path,
    bodies: NginxBodies,
    more: &str,
) -> Result<Server> {
    let cache = "open_file_cache max=1024; open_file_cache_valid 1s;";
    let (name, aio, cache) = match bodies {
        NginxBodies::Sendfile => ("nginx sendfile", "off", ""),
        NginxBodies::AioThreads => ("nginx aio", "threads", ""),
        NginxBodies::OpenFileCache => ("nginx open files", "off", cache),
    };
    let user = if rustix::process::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    let configuration = format!(
        "{user} worker_processes 1; daemon off; pid {directory}/nginx.pid; error_log stderr;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; aio {aio}; {cache}
  keepalive_requests 1000000000; default_type application/octet-stream;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  server {{ listen {address} {kind}; {more} location /files/ {{ alias {data}/; }} }}
}}
",
        directory = directory.display(),
        data = data.display(),
    );
    let file = directory.join("nginx.conf");
    std::fs::write(&file, configuration)?;
    let mut command = Command::new(program("nginx", "nginx-light")?);
    command.arg("-p").arg(directory).arg("-c").arg(&file);
    let log = directory.join("nginx.log");
    let mut server = Server::start(name, command, &log)?;
    server.wait_for(address, &log)?;
    Ok(server)
}
