//! A driver for the NFS core without sockets: jobs run at once, payloads are written in place,
//! spans are read from their files. Arguments and results go through the types of the crate
//! `nfs3_types`, so that encoding and decoding are checked against somebody else's.

#![allow(dead_code, reason = "each test file uses its part of the harness")]

pub(crate) mod compounds;

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use nfs3_types::nfs3::{nfs_fh3, post_op_attr};
use nfs3_types::xdr_codec::{Opaque, Pack, Unpack};
use towline_base::MacKey;
use towline_io::protocol::Unit;
use towline_io::{Demand, Output, Payload, Peer, Protocol};
use towline_nfs::{Connection, Desk, Line, LocalPorts, Ports, Programs, Server, Settings};
use towline_volume::handle::HandleKeys;
use towline_volume::tree::Writing;
use towline_volume::{Export, Exports, Identity, Squash, Tree, View, Volume, VolumeId, VolumeKind};

/// Words that wait for a client of the tests, as a count: more than any test makes.
const WORDS_MAX: usize = 256;

pub(crate) const NFS: u32 = 100_003;
pub(crate) const MOUNT: u32 = 100_005;
pub(crate) const PORTMAP: u32 = 100_000;

/// A node with the exports `projects` (writable), `models` (read-only) and `cache`.
pub(crate) struct Node {
    pub(crate) server: Arc<Server>,
    pub(crate) exports: Arc<Exports>,
    pub(crate) desk: Desk,
    pub(crate) view: Rc<RefCell<View>>,
    pub(crate) dir: tempfile::TempDir,
}

pub(crate) fn me() -> Identity {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    Identity::new(uid.as_raw(), gid.as_raw(), &[])
}

pub(crate) fn node() -> Node {
    node_with(|tree| Arc::new(tree))
}

/// A node whose volumes are what `wrap` makes of directory trees; `projects` comes first.
pub(crate) fn node_with(wrap: impl FnMut(Tree) -> Arc<dyn Volume>) -> Node {
    node_of(wrap, towline_nfs::v4::Settings::default())
}

/// The same with other terms for clients of version 4.
pub(crate) fn node_of(
    mut wrap: impl FnMut(Tree) -> Arc<dyn Volume>,
    v4: towline_nfs::v4::Settings,
) -> Node {
    let dir = tempfile::tempdir().unwrap();
    let keys = HandleKeys::new(MacKey::new([9; 32]));
    let mut export = |name: &str, writing, kind| {
        let path = dir.path().join(name);
        std::fs::create_dir(&path).unwrap();
        let id = VolumeId::of_name(name);
        let tree = Tree::open(&path, id, keys.clone(), writing, None).unwrap();
        Arc::new(Export {
            id,
            name: name.to_owned(),
            kind,
            volume: wrap(tree),
            hidden: None,
            allow: vec!["10.0.0.0/8".parse().unwrap()],
            allow_write: vec!["10.0.0.0/24".parse().unwrap()],
            squash: Squash::None,
            anonymous: me(),
            tokens: Vec::new(),
        })
    };
    let list = vec![
        export("projects", Writing::Synchronous, VolumeKind::Project),
        export("models", Writing::ReadOnly, VolumeKind::Model),
        export("cache", Writing::Asynchronous, VolumeKind::Cache),
    ];
    let exports = Arc::new(Exports::new(list, keys));
    let ports = Ports {
        nfs: 2049,
        mount_udp: Some(2049),
        portmap: Some(111),
    };
    let local_ports = LocalPorts::Any;
    let settings = Settings {
        ports,
        local_ports,
        v4: Some(v4),
    };
    let server = Server::new(exports.clone(), settings).unwrap();
    let view = Rc::new(RefCell::new(View::new(exports.clone())));
    let desk = Desk::new(server.clone(), view.clone());
    Node {
        server,
        exports,
        desk,
        view,
        dir,
    }
}

impl Node {
    pub(crate) fn path(&self, below: &str) -> std::path::PathBuf {
        self.dir.path().join(below)
    }

    pub(crate) fn root(&self, volume: &str) -> nfs_fh3 {
        let export = self.exports.by_name(volume.as_bytes()).unwrap();
        fh(export.volume.root().unwrap().handle.as_bytes())
    }

    pub(crate) fn client(&self, address: &str) -> Client {
        self.client_of(Programs::Nfs, address)
    }

    pub(crate) fn client_of(&self, programs: Programs, address: &str) -> Client {
        let connection = self.desk.connection(programs, peer(address)).unwrap();
        let (tell, words) = std::sync::mpsc::sync_channel(WORDS_MAX);
        let tell = std::sync::Mutex::new(tell);
        let line = Line::new(move |word| tell.lock().unwrap().try_send(word).is_ok());
        Client {
            connection: connection.reached_by(line),
            words,
            calls: Vec::new(),
            output: Output::default(),
            xid: 100,
            jobs_run: 0,
            payloads: 0,
            unread: Vec::new(),
            closed: false,
            replies: HashMap::new(),
        }
    }
}

pub(crate) fn peer(address: &str) -> Peer {
    let address: SocketAddr = address.parse().unwrap();
    let local = "10.0.0.99:2049".parse().unwrap();
    Peer { address, local }
}

pub(crate) fn fh(bytes: &[u8]) -> nfs_fh3 {
    nfs_fh3 {
        data: Opaque::owned(bytes.to_vec()),
    }
}

pub(crate) fn pack(value: &impl Pack) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.pack(&mut bytes).unwrap();
    bytes
}

pub(crate) fn unpack<T: Unpack>(bytes: &[u8]) -> T {
    let mut rest = bytes;
    let (value, _) = T::unpack(&mut rest).unwrap();
    assert!(rest.is_empty(), "{} bytes follow the result", rest.len());
    value
}

pub(crate) fn has_attributes(attributes: &post_op_attr) -> bool {
    matches!(attributes, post_op_attr::Some(_))
}

/// One client on one connection.
pub(crate) struct Client {
    pub(crate) connection: Connection,
    output: Output<towline_nfs::Done>,
    pub(crate) xid: u32,
    pub(crate) jobs_run: usize,
    pub(crate) payloads: usize,
    unread: Vec<u8>,
    pub(crate) closed: bool,
    pub(crate) replies: HashMap<u32, Vec<u8>>,
    words: std::sync::mpsc::Receiver<towline_nfs::Done>,
    /// Calls of the node's own.
    calls: Vec<Vec<u8>>,
}

impl Client {
    /// Calls a procedure of NFSv3 as the user who runs the tests; returns its result.
    pub(crate) fn nfs<T: Unpack>(&mut self, procedure: u32, arguments: &impl Pack) -> T {
        unpack(&self.raw(NFS, 3, procedure, &pack(arguments)))
    }

    /// Calls any procedure; returns the bytes of a successful result.
    pub(crate) fn raw(
        &mut self,
        program: u32,
        version: u32,
        procedure: u32,
        arguments: &[u8],
    ) -> Vec<u8> {
        self.xid += 1;
        let xid = self.xid;
        let message = message(xid, program, version, procedure, &unix(&me()), arguments);
        self.send(&record(&message));
        let reply = self.replies.remove(&xid).expect("a reply");
        let (head, result) = reply.split_at(24);
        assert_eq!(
            &head[4..],
            &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        );
        result.to_vec()
    }

    /// The words of the reply to a message, whatever it is.
    pub(crate) fn words(&mut self, message: &[u8]) -> Vec<u32> {
        self.send(&record(message));
        let xid = u32::from_be_bytes(message[..4].try_into().unwrap());
        let reply = self.replies.remove(&xid).expect("a reply");
        let word = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
        reply.chunks(4).map(word).collect()
    }

    /// Sends bytes in one piece and collects the replies.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        let mut input = std::mem::take(&mut self.unread);
        let mut from = 0;
        loop {
            let mut rest = &input[from..];
            let demand = self.connection.advance(&mut rest, &mut self.output);
            from = input.len() - rest.len();
            let ran = self.settle();
            match demand {
                Demand::Payload(payload) if (input.len() - from) as u64 >= payload.length => {
                    from += self.take(&payload, &input[from..]);
                    let demand = self.connection.received(Ok(()), &mut self.output);
                    assert!(matches!(demand, Demand::Input | Demand::Pause));
                    self.settle();
                }
                Demand::Payload(_) => panic!("the tests send whole payloads"),
                Demand::Input if !ran => break,
                Demand::Input | Demand::Pause => {}
                Demand::Close => {
                    self.closed = true;
                    break;
                }
                Demand::HandOff => panic!("nothing is handed off"),
            }
        }
        input.drain(..from);
        self.unread = input;
    }

    /// The node's own calls that have come since the last time.
    pub(crate) fn heard(&mut self) -> Vec<Vec<u8>> {
        while let Ok(word) = self.words.try_recv() {
            self.connection.told(word, &mut self.output);
            self.settle();
        }
        std::mem::take(&mut self.calls)
    }

    fn take(&mut self, payload: &Payload, input: &[u8]) -> usize {
        self.payloads += 1;
        let length = usize::try_from(payload.length).unwrap();
        if let Some(sink) = &payload.sink {
            sink.file
                .write_all_at(&input[..length], sink.offset)
                .unwrap();
        }
        length
    }

    /// Runs all jobs and cuts the replies; says whether a job ran.
    fn settle(&mut self) -> bool {
        let mut ran = false;
        loop {
            let (buffer, units, jobs) = self.output.take();
            self.collect(&buffer, units);
            if jobs.is_empty() {
                return ran;
            }
            for job in jobs {
                ran = true;
                self.jobs_run += 1;
                let done = std::thread::spawn(job).join().unwrap();
                self.connection.completed(done, &mut self.output);
            }
        }
    }

    fn collect(&mut self, buffer: &[u8], units: Vec<Unit>) {
        let mut stream = Vec::new();
        let mut from = 0;
        for unit in units {
            match unit {
                Unit::Bytes(count) => {
                    stream.extend_from_slice(&buffer[from..from + count]);
                    from += count;
                }
                Unit::Span(_) => panic!("NFS frames its spans"),
                Unit::Framed {
                    head_bytes,
                    span,
                    padding,
                    ..
                } => {
                    stream.extend_from_slice(&buffer[from..from + head_bytes]);
                    from += head_bytes;
                    let mut bytes = vec![0; usize::try_from(span.length).unwrap()];
                    span.file.read_exact_at(&mut bytes, span.offset).unwrap();
                    stream.extend_from_slice(&bytes);
                    stream.extend_from_slice(&[0; 3][..usize::from(padding)]);
                }
            }
        }
        let mut rest = &stream[..];
        while let Some((mark, after)) = rest.split_first_chunk::<4>() {
            let length = (u32::from_be_bytes(*mark) & 0x7fff_ffff) as usize;
            let (reply, after) = after.split_at(length);
            rest = after;
            if reply[4..8] == [0; 4] {
                self.calls.push(reply.to_vec());
                continue;
            }
            let xid = u32::from_be_bytes(reply[..4].try_into().unwrap());
            let former = self.replies.insert(xid, reply.to_vec());
            assert!(former.is_none(), "two replies to one call");
        }
    }
}

/// A credential of flavor AUTH_SYS.
pub(crate) fn unix(who: &Identity) -> (u32, Vec<u8>) {
    let mut body = vec![0, 0, 0, 1, 0, 0, 0, 4];
    body.extend_from_slice(b"host");
    for word in [who.uid, who.gid, 0] {
        body.extend_from_slice(&word.to_be_bytes());
    }
    (1, body)
}

pub(crate) fn message(
    xid: u32,
    program: u32,
    version: u32,
    procedure: u32,
    (flavor, body): &(u32, Vec<u8>),
    arguments: &[u8],
) -> Vec<u8> {
    let mut message = Vec::new();
    let length = u32::try_from(body.len()).unwrap();
    for word in [xid, 0, 2, program, version, procedure, *flavor, length] {
        message.extend_from_slice(&word.to_be_bytes());
    }
    message.extend_from_slice(body);
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(arguments);
    message
}

pub(crate) fn record(message: &[u8]) -> Vec<u8> {
    let mark = u32::try_from(message.len()).unwrap() | 1 << 31;
    [&mark.to_be_bytes(), message].concat()
}

/// The same message cut into fragments of `bytes` bytes.
pub(crate) fn fragments(message: &[u8], bytes: usize) -> Vec<u8> {
    let mut stream = Vec::new();
    let count = message.chunks(bytes).count();
    for (number, piece) in message.chunks(bytes).enumerate() {
        let last = if number + 1 == count { 1 << 31 } else { 0 };
        let mark = u32::try_from(piece.len()).unwrap() | last;
        stream.extend_from_slice(&mark.to_be_bytes());
        stream.extend_from_slice(piece);
    }
    stream
}

pub(crate) fn write_file(path: impl AsRef<Path>, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}
