//! The answering side of a measurement: echoes, transfers and this host's fact sheet.
//!
//! Invariant: only addresses of the given list are answered; connections, time and sizes are
//! bounded; nothing on this host is changed. Stops when the flag is raised. Not promised: secrecy
//! of the fact sheet towards those addresses.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use ipnet::IpNet;
use towline_base::MacKey;

use super::datagram::{Datagram, HEAD_BYTES, Kind, PAYLOAD_BYTES_MAX, unfragmented};
use super::load::{self, STALL_MAX};
use super::tally::Tally;
use crate::error::TuneError;
use crate::read::{self, Meter};
use crate::{Root, choose};

/// Connections that are served at the same time; one peer needs one.
const CONNECTIONS_MAX: usize = 4;

/// Longest request line in bytes: a word and a number.
const LINE_BYTES_MAX: u64 = 64;

/// Between two looks at the stop flag.
const STEP: Duration = Duration::from_millis(200);

/// An answering side, before it runs.
#[derive(Debug)]
pub struct Answerer {
    datagrams: UdpSocket,
    listener: TcpListener,
    allow: Vec<IpNet>,
    key: MacKey,
    tally: Arc<Tally>,
}

impl Answerer {
    /// Opens both sockets on that address; port 0 is any free one. Loopback and `allow` are
    /// answered, nobody else, and what is answered is counted in `tally`.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn open(
        address: SocketAddr,
        allow: Vec<IpNet>,
        tally: Arc<Tally>,
    ) -> Result<Self, TuneError> {
        let failed = |error| TuneError::system(format!("{address}"), error);
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        // The same port for both, also where the system chose it.
        let address = listener.local_addr().map_err(failed)?;
        let datagrams = unfragmented(address).map_err(failed)?;
        datagrams.set_read_timeout(Some(STEP)).map_err(failed)?;
        Ok(Self {
            datagrams,
            listener,
            allow,
            key: MacKey::random().map_err(failed)?,
            tally,
        })
    }

    /// The address in use.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` is raised, and ends within a fifth of a second then.
    pub fn run(self, stop: &Arc<AtomicBool>) {
        let Self {
            datagrams,
            listener,
            allow,
            key,
            tally,
        } = self;
        thread::scope(|scope| {
            scope.spawn(|| echo(&datagrams, &allow, &key, &tally, stop));
            accept(&listener, &allow, &tally, stop);
        });
    }
}

fn is_allowed(allow: &[IpNet], peer: IpAddr) -> bool {
    let peer = peer.to_canonical();
    peer.is_loopback() || allow.iter().any(|net| net.contains(&peer))
}

fn echo(socket: &UdpSocket, allow: &[IpNet], key: &MacKey, tally: &Tally, stop: &AtomicBool) {
    let mut buffer = vec![0; PAYLOAD_BYTES_MAX];
    while !stop.load(Ordering::Relaxed) {
        let Ok((count, peer)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let Some(asked) = Datagram::decode(&buffer[..count]) else {
            continue;
        };
        if !is_allowed(allow, peer.ip()) {
            Tally::count(&tally.refused);
            continue;
        }
        let code = key.sign(peer.to_string().as_bytes());
        let (reply, bytes) = match asked.kind {
            Kind::Hello if count > HEAD_BYTES => (
                Datagram {
                    kind: Kind::Welcome,
                    code: code.0,
                    ..asked
                },
                count.min(super::datagram::SMALL_BYTES),
            ),
            Kind::Echo if code.matches(&asked.code) => (
                Datagram {
                    kind: Kind::Reply,
                    ..asked
                },
                usize::from(asked.reply_bytes),
            ),
            Kind::Hello | Kind::Welcome | Kind::Echo | Kind::Reply | Kind::TooLarge => continue,
        };
        Tally::count(&tally.echoes);
        let sent = socket.send_to(&reply.encode(bytes), peer);
        let too_large = rustix::io::Errno::MSGSIZE.raw_os_error();
        if sent.is_err_and(|error| error.raw_os_error() == Some(too_large)) {
            let refusal = Datagram {
                kind: Kind::TooLarge,
                ..asked
            };
            // Lost, it counts as vanished; the asker tries again.
            let _ = socket.send_to(&refusal.encode(HEAD_BYTES), peer);
        }
    }
}

/// Takes connections until `stop`; then those under way are cut, so that nothing outlives `run`.
fn accept(listener: &TcpListener, allow: &[IpNet], tally: &Tally, stop: &AtomicBool) {
    thread::scope(|scope| {
        let mut served: Vec<(TcpStream, ScopedJoinHandle<'_, ()>)> = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            served.retain(|(_, thread)| !thread.is_finished());
            let Ok((stream, peer)) = listener.accept() else {
                thread::sleep(STEP / 4);
                continue;
            };
            if !is_allowed(allow, peer.ip()) || served.len() >= CONNECTIONS_MAX {
                Tally::count(&tally.refused);
                continue;
            }
            let Ok(handle) = stream.try_clone() else {
                continue;
            };
            let thread = scope.spawn(move || {
                // A peer that breaks off has its own message.
                if let Err(error) = serve(stream, peer.ip(), tally) {
                    tracing::debug!(%peer, %error, "a measurement broke off");
                }
            });
            served.push((handle, thread));
        }
        for (stream, _) in &served {
            // One that has ended by itself is no fault.
            let _ = stream.shutdown(Shutdown::Both);
        }
    });
}

/// One request: `FACTS`, `SINK` or `SOURCE milliseconds`.
fn serve(mut stream: TcpStream, peer: IpAddr, tally: &Tally) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(STALL_MAX))?;
    stream.set_write_timeout(Some(STALL_MAX))?;
    let mut line = String::new();
    let mut head = io::Read::take(stream.try_clone()?, LINE_BYTES_MAX);
    // One octet at a time: what follows the line is the transfer's.
    BufReader::with_capacity(1, &mut head).read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let _span = tracing::debug_span!("measurement", %peer, proc = line.trim()).entered();
    tracing::debug!("asked");
    let root = Root::default();
    match (words.next(), words.next()) {
        (Some("FACTS"), None) => {
            let told = read::ToldSpeeds::of_environment().map_err(io::Error::other)?;
            let facts = read::host(&root, &told, Duration::ZERO).map_err(io::Error::other)?;
            let link = choose::towards(&facts, peer.to_canonical());
            let name = link.map(|link| link.name.clone()).ok();
            let text = serde_json::to_vec(&(name, facts)).map_err(io::Error::other)?;
            Tally::count(&tally.sheets);
            stream.write_all(&text)
        }
        (Some("SINK"), None) => {
            let meter = meter(&root, peer)?;
            load::drain(&mut stream)?;
            Tally::count(&tally.transfers);
            load::tell(&mut stream, &meter.stop())
        }
        (Some("SOURCE"), Some(time)) => {
            let time = time.parse().map_err(io::Error::other)?;
            let meter = meter(&root, peer)?;
            load::pour(&mut stream, Duration::from_millis(time))?;
            Tally::count(&tally.transfers);
            load::tell(&mut stream, &meter.stop())
        }
        _ => stream.write_all(b"towline tune answers FACTS, SINK and SOURCE\n"),
    }
}

fn meter(root: &Root, peer: IpAddr) -> io::Result<Meter> {
    let link = choose::name_towards(root, peer.to_canonical()).map_err(io::Error::other)?;
    Ok(Meter::start(root, &link))
}
