//! HTTPS: TLS ends here, and the plain bytes go to a worker through a socket pair.
//!
//! So every rule of the HTTP face holds for TLS too, and there is one implementation of it. The
//! price is a copy through user space in each direction: without kernel TLS no file goes out by
//! sendfile, and the page that tells people how to turn TLS on says so. Invariant: the worker sees
//! the address of the real peer. Bounded by [`HANDSHAKES_MAX`] and by the node's connection limit.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use towline_io::{Peer, WorkerHandle};

use crate::error::NodeError;
use crate::face::Done;

/// Most TLS handshakes and relayed connections at a time: each holds about 64 KiB.
const HANDSHAKES_MAX: usize = 4096;

/// Time for a handshake: three round trips of a bad link and a slow client's arithmetic.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Reads certificate and key.
pub(crate) fn load(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, NodeError> {
    let failed = |path: &Path, what: &str, error: &dyn std::fmt::Display| {
        NodeError::Tls(format!("{what} {}: {error}", path.display()))
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate)
        .map_err(|error| failed(certificate, "cannot read the certificate", &error))?
        .collect();
    let chain = chain.map_err(|error| failed(certificate, "not a PEM certificate:", &error))?;
    if chain.is_empty() {
        return Err(failed(
            certificate,
            "there is no certificate in",
            &"write a PEM file",
        ));
    }
    let secret = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| failed(key, "cannot read the private key", &error))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| failed(certificate, "certificate and key do not fit:", &error))?;
    // HTTP/1.1 only: the whole family of HTTP/2 reset attacks has no place here (threat H4).
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Accepts until the runtime ends; connections go to the workers in turn.
pub(crate) async fn serve(
    listener: std::net::TcpListener,
    config: Arc<ServerConfig>,
    workers: Vec<WorkerHandle<Done>>,
    http_listener: usize,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "HTTPS is not served"),
    };
    let acceptor = TlsAcceptor::from(config);
    let places = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    for worker in workers.iter().cycle() {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a TLS connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(local) = stream.local_addr() else {
            continue;
        };
        let (acceptor, worker) = (acceptor.clone(), worker.clone());
        tokio::spawn(async move {
            let peer = Peer { address, local };
            if let Err(error) = relay(stream, acceptor, worker, peer, http_listener).await {
                tracing::debug!(peer = %address, %error, "a TLS connection ended");
            }
            drop(place);
        });
    }
}

async fn relay(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    worker: WorkerHandle<Done>,
    peer: Peer,
    http_listener: usize,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut outside = tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await??;
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    let busy = |_: OwnedFd| std::io::Error::other("the worker has too much to do");
    worker
        .adopt(OwnedFd::from(theirs), peer, http_listener)
        .map_err(busy)?;
    let mut inside = UnixStream::from_std(ours)?;
    tokio::io::copy_bidirectional_with_sizes(&mut outside, &mut inside, 64 << 10, 256 << 10)
        .await?;
    Ok(())
}
