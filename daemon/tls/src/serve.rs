//! HTTPS: handshakes and relays on threads of their own, one for each worker.
//!
//! A thread accepts on its own socket (`SO_REUSEPORT`), shakes hands, and gives the inner end of a
//! socket pair to its worker while [`crate::relay`] encrypts. Where the kernel has TLS
//! ([`towline_sys::kernel_tls`]), the worker gets the socket itself and files leave by sendfile(2).
//! Either way the worker sees the address of the real peer and every rule of HTTP holds.
//! Invariant: however many handshakes are begun and not finished, the next one is taken: the
//! oldest gives its place. Not promised: what is under way when a node stops, beyond its drain
//! time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::server::UnbufferedServerConnection;
use rustls::{ConnectionTrafficSecrets, ProtocolVersion};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{oneshot, watch};
use towline_io::{Congestion, Peer};
use towline_sys::kernel_tls::{self, TlsVersion, TrafficKey, Way};

use crate::handshake;
use crate::relay::{Bench, Relay};
use crate::terms::Terms;

/// Most handshakes under way on one thread: 64 KiB each at the very most, 3 KiB as clients are.
const HANDSHAKES_MAX: usize = 2048;

/// Time for a handshake: three round trips of a bad link and a slow client's arithmetic.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Bytes that the worker may be ahead of the relay: two batches of it.
const AHEAD_BYTES: usize = 256 << 10;

/// Takes a connection in: a socket that speaks plain HTTP, and the address of the real peer.
///
/// # Errors
/// There is no room for it.
pub type Adopt = Arc<dyn Fn(OwnedFd, Peer) -> io::Result<()> + Send + Sync>;

/// What becomes of the connections of one thread.
#[derive(Clone)]
struct Target {
    adopt: Adopt,
    congestion: Congestion,
}

/// The running threads.
pub struct Threads {
    threads: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

impl Threads {
    /// Starts a thread for each of `adopters`. `doors`: for each address a socket for each thread.
    ///
    /// # Errors
    /// A thread that cannot be started.
    pub fn start(
        doors: Vec<Vec<OwnedFd>>,
        terms: &Terms,
        adopters: Vec<Adopt>,
        congestion: &Congestion,
    ) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let mut sockets: Vec<Vec<OwnedFd>> = adopters.iter().map(|_| Vec::new()).collect();
        for door in doors {
            for (own, socket) in sockets.iter_mut().zip(door) {
                own.push(socket);
            }
        }
        let mut threads = Vec::new();
        for (index, (adopt, sockets)) in adopters.into_iter().zip(sockets).enumerate() {
            let target = Target {
                adopt,
                congestion: congestion.clone(),
            };
            let (terms, stopped) = (terms.clone(), stopped.clone());
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let thread = std::thread::Builder::new()
                .name(format!("towline-tls-{index}"))
                .spawn(move || {
                    let tasks = tokio::task::LocalSet::new();
                    tasks.block_on(&runtime, serve(sockets, &terms, &target, stopped));
                })?;
            threads.push(thread);
        }
        Ok(Self { threads, stop })
    }

    /// Accepts no more. What is under way goes on.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until everything is delivered; whoever adopts has closed its ends by now. Blocks.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a TLS thread has panicked: please report this with the log above");
            }
        }
    }
}

/// How long a thread that was stopped goes on with relays whose workers have closed their ends.
const STOP_MAX: Duration = Duration::from_secs(60);

/// What the tasks of one thread share.
struct Hall {
    bench: Rc<RefCell<Bench>>,
    /// Handshakes under way, the oldest first; each ends when its sender is dropped.
    shaking: RefCell<BTreeMap<u64, oneshot::Sender<()>>>,
    next: RefCell<u64>,
    /// Connections on this thread; its receivers are told of each that ends.
    present: watch::Sender<usize>,
}

async fn serve(
    sockets: Vec<OwnedFd>,
    terms: &Terms,
    target: &Target,
    mut stopped: watch::Receiver<bool>,
) {
    let hall = Rc::new(Hall {
        bench: Bench::new(),
        shaking: RefCell::default(),
        next: RefCell::default(),
        present: watch::channel(0).0,
    });
    let mut accepting = Vec::new();
    for socket in sockets {
        let task = accept(socket, terms.clone(), target.clone(), hall.clone());
        accepting.push(tokio::task::spawn_local(task));
    }
    // The sender lives as long as the node; one that is gone means the same.
    let _ = stopped.wait_for(|stopped| *stopped).await;
    accepting.iter().for_each(tokio::task::JoinHandle::abort);
    hall.shaking.borrow_mut().clear();
    let mut present = hall.present.subscribe();
    let _ = tokio::time::timeout(STOP_MAX, present.wait_for(|count| *count == 0)).await;
}

/// Accepts on one socket until it is aborted.
async fn accept(socket: OwnedFd, terms: Terms, target: Target, hall: Rc<Hall>) {
    let listener = std::net::TcpListener::from(socket);
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "HTTPS is not served"),
    };
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, mostly: they come back.
                tracing::debug!(%error, "cannot accept a TLS connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(local) = stream.local_addr() else {
            continue;
        };
        let peer = Peer { address, local };
        let task = connection(stream, peer, terms.clone(), target.clone(), hall.clone());
        tokio::task::spawn_local(task);
    }
}

async fn connection(
    mut stream: TcpStream,
    peer: Peer,
    terms: Terms,
    target: Target,
    hall: Rc<Hall>,
) {
    let _present = Present::enter(&hall);
    let (number, evicted) = hall.begin();
    let _ = stream.set_nodelay(true);
    let shaken = tokio::select! {
        shaken = handshake::accept(&mut stream, terms.config.clone()) => shaken,
        () = tokio::time::sleep(HANDSHAKE_MAX) => Err(io::ErrorKind::TimedOut.into()),
        _ = evicted => Err(io::Error::other("others wait for its place")),
    };
    hall.shaking.borrow_mut().remove(&number);
    let tls = match shaken {
        Ok(tls) => tls,
        Err(error) => {
            terms.tally.failed.fetch_add(1, Ordering::Relaxed);
            return tracing::debug!(peer = %peer.address, %error, "a TLS handshake failed");
        }
    };
    terms.tally.accepted.fetch_add(1, Ordering::Relaxed);
    let ended = if terms.suits_kernel(&tls) && kernel_tls::attach(&stream).is_ok() {
        hand_over(tls, stream, peer, &target)
            .map(|()| terms.tally.in_kernel.fetch_add(1, Ordering::Relaxed))
            .map(drop)
    } else {
        terms.tally.relayed.fetch_add(1, Ordering::Relaxed);
        let ended = relay(tls, stream, peer, &target, &hall).await;
        terms.tally.relayed.fetch_sub(1, Ordering::Relaxed);
        ended
    };
    if let Err(error) = ended {
        tracing::debug!(peer = %peer.address, %error, "a TLS connection ended");
    }
}

impl Hall {
    /// Notes a handshake; where there are too many, the oldest ends.
    fn begin(&self) -> (u64, oneshot::Receiver<()>) {
        let (place, evicted) = oneshot::channel();
        let number = {
            let mut next = self.next.borrow_mut();
            *next += 1;
            *next
        };
        let mut shaking = self.shaking.borrow_mut();
        shaking.insert(number, place);
        if shaking.len() > HANDSHAKES_MAX {
            shaking.pop_first();
        }
        (number, evicted)
    }
}

/// One connection of a thread, counted.
struct Present(Rc<Hall>);

impl Present {
    fn enter(hall: &Rc<Hall>) -> Self {
        hall.present.send_modify(|count| *count += 1);
        Self(hall.clone())
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.present.send_modify(|count| *count -= 1);
    }
}

/// Lets the kernel encrypt, and gives the socket itself to the worker.
fn hand_over(
    tls: UnbufferedServerConnection,
    stream: TcpStream,
    peer: Peer,
    target: &Target,
) -> io::Result<()> {
    let version = match tls.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => TlsVersion::V12,
        _ => TlsVersion::V13,
    };
    let (secrets, _) = tls
        .dangerous_into_kernel_connection()
        .map_err(io::Error::other)?;
    for (way, (sequence, secret)) in [(Way::Send, &secrets.tx), (Way::Receive, &secrets.rx)] {
        let (key, iv) = match secret {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv }
            | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
            | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key.as_ref(), iv),
            _ => return Err(io::Error::other("a cipher that the kernel does not know")),
        };
        let nonce = iv.as_ref().try_into().map_err(io::Error::other)?;
        let bad = |_| io::Error::other("a key of the wrong length");
        let key = match secret {
            ConnectionTrafficSecrets::Aes128Gcm { .. } => {
                TrafficKey::Aes128Gcm(key.try_into().map_err(bad)?, nonce)
            }
            ConnectionTrafficSecrets::Aes256Gcm { .. } => {
                TrafficKey::Aes256Gcm(key.try_into().map_err(bad)?, nonce)
            }
            _ => TrafficKey::Chacha20Poly1305(key.try_into().map_err(bad)?, nonce),
        };
        kernel_tls::install(&stream, way, version, key, *sequence)?;
    }
    let socket = OwnedFd::from(stream.into_std()?);
    target.congestion.apply(&socket);
    (target.adopt)(socket, peer)
}

/// Gives the inner end of a pair to the worker, and relays.
async fn relay(
    tls: UnbufferedServerConnection,
    stream: TcpStream,
    peer: Peer,
    target: &Target,
    hall: &Hall,
) -> io::Result<()> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    // The kernel's limit may be lower, which costs turns and nothing else.
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(&theirs, AHEAD_BYTES);
    target.congestion.apply(&stream);
    (target.adopt)(OwnedFd::from(theirs), peer)?;
    let inside = UnixStream::from_std(ours)?;
    Relay::new(tls, stream, inside, hall.bench.clone())
        .run()
        .await
}
