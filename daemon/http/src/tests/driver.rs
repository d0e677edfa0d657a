//! A driver for tests: runs jobs at once, stores payloads, and collects what would be sent.
//!
//! It follows the contract of `towline_io::Protocol` step by step and has no sockets. Input can
//! be given in any cuts; output is the bytes that a client would see, spans included.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use crate::{Connection, Factory, Limits, Server};
use tempfile::TempDir;
use towline_base::MacKey;
use towline_io::protocol::{Payload, Unit};
use towline_io::{Demand, Output, PayloadFault, Peer, Protocol};
use towline_volume::export::Token;
use towline_volume::handle::HandleKeys;
use towline_volume::tree::Writing;
use towline_volume::{
    Export, Exports, Identity, Reach, Squash, Tree, View, Volume, VolumeId, VolumeKind,
};

/// A node with volumes in a temporary folder.
pub(super) struct Node {
    pub(super) folder: TempDir,
    pub(super) server: Arc<Server>,
    pub(super) factory: Factory,
}

/// One client's connection.
pub(super) struct Client {
    connection: Connection,
    output: Output<crate::Done>,
    input: Vec<u8>,
    payload: Option<Payload>,
    fault: Option<PayloadFault>,
    wants: Wants,
    /// The errno that every payload write gives from now on.
    pub(super) failing: Option<rustix::io::Errno>,
    /// Jobs that were run.
    pub(super) jobs: usize,
    /// Most bytes that one call put out, spans not counted.
    pub(super) burst: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wants {
    Input,
    Close,
    HandOff,
}

/// A reply, taken apart.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (field, value) = line.split_once(": ")?;
            field.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Node {
    /// `models` read-only, `projects` writable, `hidden` for another network, `locked` with
    /// tokens, all readable from 10.0.0.0/24 but `hidden`.
    pub(super) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(super) fn with(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = HandleKeys::new(MacKey::new([1; 32]));
        let lan = "10.0.0.0/24";
        let list = vec![
            export(folder.path(), &keys, "models", VolumeKind::Model, lan),
            export(folder.path(), &keys, "projects", VolumeKind::Project, lan),
            export(
                folder.path(),
                &keys,
                "hidden",
                VolumeKind::Cache,
                "10.9.0.0/24",
            ),
            {
                let mut locked = export(folder.path(), &keys, "locked", VolumeKind::Cache, lan);
                let token = |secret: &str, reach| Token {
                    secret: secret.to_owned(),
                    reach,
                };
                locked.tokens = vec![token("reader", Reach::Read), token("writer", Reach::Write)];
                locked
            },
        ];
        let exports = Arc::new(Exports::new(list.into_iter().map(Arc::new).collect(), keys));
        let server = Arc::new(
            Server::new(exports.clone(), limits).with_doors(crate::Doors::new(
                "n",
                Vec::new(),
                Vec::new(),
            )),
        );
        let view = Rc::new(RefCell::new(View::new(exports)));
        let factory = Factory::new(server.clone(), view);
        Self {
            folder,
            server,
            factory,
        }
    }

    pub(super) fn path(&self, below: &str) -> std::path::PathBuf {
        self.folder.path().join(below)
    }

    pub(super) fn write(&self, below: &str, contents: &[u8]) {
        std::fs::write(self.path(below), contents).unwrap();
    }

    pub(super) fn client(&self) -> Client {
        self.client_from("10.0.0.7:999")
    }

    pub(super) fn client_from(&self, address: &str) -> Client {
        let address: SocketAddr = address.parse().unwrap();
        let peer = Peer {
            address,
            local: address,
        };
        Client {
            connection: self.factory.accept(peer, crate::Port::Http),
            output: Output::default(),
            input: Vec::new(),
            payload: None,
            fault: None,
            wants: Wants::Input,
            failing: None,
            jobs: 0,
            burst: 0,
        }
    }

    /// One request on a connection of its own.
    pub(super) fn ask(&self, request: &str) -> Reply {
        self.client().ask(request)
    }
}

fn export(folder: &Path, keys: &HandleKeys, name: &str, kind: VolumeKind, allow: &str) -> Export {
    let root = folder.join(name);
    std::fs::create_dir(&root).unwrap();
    let writing = match kind {
        VolumeKind::Model => Writing::ReadOnly,
        VolumeKind::Project => Writing::Synchronous,
        VolumeKind::Cache => Writing::Asynchronous,
    };
    let id = VolumeId::of_name(name);
    let tree = Tree::open(&root, id, keys.clone(), writing, None).unwrap();
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    Export {
        id,
        name: name.to_owned(),
        kind,
        volume: Arc::new(tree) as Arc<dyn Volume>,
        hidden: None,
        allow: vec![allow.parse().unwrap()],
        allow_write: vec![allow.parse().unwrap()],
        squash: Squash::Root,
        anonymous: Identity::new(uid.as_raw(), gid.as_raw(), &[]),
        tokens: Vec::new(),
    }
}

impl Client {
    /// Sends bytes; what comes back.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.input.extend_from_slice(bytes);
        let mut sent = Vec::new();
        let mut last = None;
        while self.wants == Wants::Input {
            if self.payload.is_some() {
                let Some(demand) = self.store() else { break };
                self.obey(demand, &mut sent);
                continue;
            }
            let state = self.input.len();
            if last == Some(state) {
                break;
            }
            let mut rest = &self.input[..];
            let demand = self.connection.advance(&mut rest, &mut self.output);
            let taken = self.input.len() - rest.len();
            self.input.drain(..taken);
            last = matches!(demand, Demand::Input).then_some(self.input.len());
            self.obey(demand, &mut sent);
        }
        sent
    }

    /// Sends a request and takes its one reply apart.
    pub(super) fn ask(&mut self, request: &str) -> Reply {
        let is_head = request.starts_with("HEAD ");
        let bytes = self.send(request.as_bytes());
        let (reply, rest) = split(&bytes, is_head);
        assert_eq!(rest, b"", "one reply to {request}");
        reply
    }

    pub(super) fn wants(&self) -> Wants {
        self.wants
    }

    pub(super) fn unread(&self) -> &[u8] {
        &self.input
    }

    pub(super) fn is_idle(&self) -> bool {
        self.connection.is_idle()
    }

    /// Takes payload off the input; `None` if more of it has to come.
    fn store(&mut self) -> Option<Demand> {
        let payload = self.payload.as_mut()?;
        let count = (payload.length as usize).min(self.input.len());
        let bytes: Vec<u8> = self.input.drain(..count).collect();
        if let Some(sink) = &mut payload.sink {
            match self.failing {
                Some(errno) => self.fault = Some(PayloadFault::Write(errno)),
                None => {
                    sink.file.write_all_at(&bytes, sink.offset).unwrap();
                    sink.offset += count as u64;
                }
            }
        }
        payload.length -= count as u64;
        if payload.length > 0 {
            return None;
        }
        self.payload = None;
        let outcome = self.fault.take().map_or(Ok(()), Err);
        Some(self.connection.received(outcome, &mut self.output))
    }

    fn obey(&mut self, demand: Demand, sent: &mut Vec<u8>) {
        let jobs = self.collect(sent);
        match demand {
            Demand::Input => {}
            Demand::Payload(payload) => self.payload = Some(payload),
            Demand::Pause => assert_eq!(jobs.len(), 1, "a pause waits for a job"),
            Demand::Close => self.wants = Wants::Close,
            Demand::HandOff => self.wants = Wants::HandOff,
        }
        for job in jobs {
            self.jobs += 1;
            let demand = self.connection.completed(job(), &mut self.output);
            self.obey(demand, sent);
        }
    }

    fn collect(&mut self, sent: &mut Vec<u8>) -> Vec<towline_io::protocol::Job<crate::Done>> {
        let (buffer, units, jobs) = self.output.take();
        self.burst = self.burst.max(buffer.len());
        let mut rest = &buffer[..];
        for unit in units {
            match unit {
                Unit::Bytes(count) => {
                    sent.extend_from_slice(&rest[..count]);
                    rest = &rest[count..];
                }
                Unit::Span(span) => {
                    let mut bytes = vec![0; span.length as usize];
                    span.file.read_exact_at(&mut bytes, span.offset).unwrap();
                    sent.extend_from_slice(&bytes);
                }
                Unit::Framed { .. } => panic!("HTTP puts out no framed replies"),
            }
        }
        jobs
    }
}

/// Takes the first reply off a stream.
pub(super) fn split(bytes: &[u8], is_head: bool) -> (Reply, &[u8]) {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(bytes))) + 4;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head[9..12].parse().unwrap();
    let mut reply = Reply {
        status,
        head,
        body: Vec::new(),
    };
    let length: usize = match reply.field("Content-Length") {
        Some(_) if is_head || status == 304 => 0,
        Some(length) => length.parse().unwrap(),
        None => {
            assert!(matches!(status, 100 | 204 | 304), "{}", reply.head);
            0
        }
    };
    reply.body = bytes[end..end + length].to_vec();
    (reply, &bytes[end + length..])
}
