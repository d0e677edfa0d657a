//! RPC, MOUNT and portmap against bytes: what is refused, how, and for whom.
//!
//! Replies are compared word by word with RFC 5531, RFC 1813 section 5 and RFC 1833. Not covered:
//! how real clients take them, which the whole-system tests show.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on panics"
)]

mod harness;

use std::net::SocketAddr;

use harness::*;
use towline_io::{Demand, Output, Peer, Protocol};
use towline_nfs::connection::CALLS_IN_FLIGHT_MAX;
use towline_nfs::{Programs, datagram};

const A: &str = "10.0.0.1:700";

fn nobody() -> (u32, Vec<u8>) {
    (0, Vec::new())
}

fn string(text: &str) -> Vec<u8> {
    let mut bytes = u32::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

#[test]
fn what_is_not_served_is_refused_with_the_right_word() {
    let node = node();
    let mut client = node.client(A);
    let mut ask = |program, version, procedure| {
        client.words(&message(1, program, version, procedure, &nobody(), &[]))[5..].to_vec()
    };
    assert_eq!(ask(100_227, 3, 0), [1], "NFSACL: PROG_UNAVAIL");
    assert_eq!(ask(NFS, 4, 0), [0], "NULL of version 4");
    assert_eq!(ask(NFS, 4, 2), [3], "PROC_UNAVAIL");
    assert_eq!(ask(NFS, 5, 0), [2, 3, 4], "PROG_MISMATCH at once");
    assert_eq!(ask(NFS, 2, 0), [2, 3, 4]);
    assert_eq!(ask(MOUNT, 4, 0), [2, 1, 3]);
    assert_eq!(ask(NFS, 3, 22), [3], "PROC_UNAVAIL");
    assert_eq!(ask(MOUNT, 3, 6), [3]);
    assert_eq!(ask(NFS, 3, 1), [4], "GARBAGE_ARGS");
    assert_eq!(ask(NFS, 3, 0), [0]);
    assert_eq!(ask(MOUNT, 3, 0), [0]);
    assert_eq!(ask(PORTMAP, 2, 0), [1], "portmap has a port of its own");
}

#[test]
fn a_bad_credential_is_an_authentication_error() {
    let node = node();
    let mut client = node.client(A);
    let mut ask = |credential: (u32, Vec<u8>)| {
        client.words(&message(1, NFS, 3, 0, &credential, &[]))[1..].to_vec()
    };
    assert_eq!(ask((7, Vec::new())), [1, 1, 1, 1], "AUTH_TLS: AUTH_BADCRED");
    assert_eq!(ask((1, vec![0; 8])), [1, 1, 1, 1], "AUTH_SYS cut short");
    assert_eq!(
        ask((2, Vec::new())),
        [1, 1, 1, 2],
        "AUTH_SHORT: AUTH_REJECTEDCRED"
    );
    let mut message = message(1, NFS, 3, 0, &nobody(), &[]);
    message[11] = 3;
    assert_eq!(client.words(&message)[1..], [1, 1, 0, 2, 2], "RPC_MISMATCH");
}

#[test]
fn what_is_no_call_closes_the_connection() {
    let node = node();
    for bytes in [
        vec![0x80, 0, 0, 0],
        record(&[0, 0, 0, 1, 0, 0, 0, 1]),
        vec![0xff; 8],
    ] {
        let mut client = node.client(A);
        client.send(&bytes);
        assert!(client.closed);
    }
}

#[test]
fn a_directory_below_an_export_can_be_mounted() {
    let node = node();
    std::fs::create_dir_all(node.path("projects/a/b")).unwrap();
    write_file(node.path("projects/file"), b"");
    let mut client = node.client(A);
    let mut mount = |path: &str| {
        let reply = client.raw(MOUNT, 3, 1, &string(path));
        u32::from_be_bytes(reply[..4].try_into().unwrap())
    };
    assert_eq!(mount("/projects"), 0);
    assert_eq!(mount("/projects/a/b/"), 0);
    assert_eq!(mount("/projects/missing"), 2);
    assert_eq!(mount("/projects/../models"), 2);
    assert_eq!(mount("/projects/file"), 20);
    assert_eq!(mount("/missing"), 2);
    assert_eq!(mount("/"), 2);
    let reply = client.raw(MOUNT, 3, 1, &string("/projects"));
    let flavors = reply.len() - 12;
    assert_eq!(
        reply[flavors..],
        [0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0],
        "AUTH_UNIX first"
    );
    let old = client.raw(MOUNT, 1, 1, &string("/projects"));
    assert_eq!(old, 10_004_u32.to_be_bytes(), "no NFSv2 handles");
}

/// Threat N14.
#[test]
fn exports_are_listed_to_those_who_may_reach_them() {
    let node = node();
    for version in [1, 3] {
        let reply = node.client(A).raw(MOUNT, version, 5, &[]);
        let text = String::from_utf8_lossy(&reply).into_owned();
        for name in [
            "/projects",
            "/models",
            "/cache",
            "10.0.0.0/8",
            "10.0.0.0/24",
        ] {
            assert!(text.contains(name), "{name}");
        }
        let wider = node.client("10.9.0.1:700").raw(MOUNT, version, 5, &[]);
        assert!(!String::from_utf8_lossy(&wider).contains("10.0.0.0/24"));
        let mut stranger = node.client("192.168.0.1:700");
        assert_eq!(stranger.raw(MOUNT, version, 5, &[]), [0; 4]);
    }
    let mut stranger = node.client("192.168.0.1:700");
    let refused = stranger.raw(MOUNT, 3, 1, &string("/projects"));
    assert_eq!(refused, 13_u32.to_be_bytes());
}

#[test]
fn mounts_are_remembered_until_they_are_taken_back() {
    let node = node();
    let mut client = node.client(A);
    client.raw(MOUNT, 3, 1, &string("/projects"));
    client.raw(MOUNT, 3, 1, &string("/models"));
    let listed = client.raw(MOUNT, 3, 2, &[]);
    let one = [vec![0, 0, 0, 1], string("10.0.0.1"), string("/projects")].concat();
    assert_eq!(listed[..one.len()], one);
    assert_eq!(node.client("10.0.0.2:700").raw(MOUNT, 3, 2, &[]), [0; 4]);
    client.raw(MOUNT, 3, 3, &string("/projects"));
    let rest = [
        vec![0, 0, 0, 1],
        string("10.0.0.1"),
        string("/models"),
        vec![0; 4],
    ]
    .concat();
    assert_eq!(client.raw(MOUNT, 3, 2, &[]), rest);
    client.raw(MOUNT, 3, 4, &[]);
    assert_eq!(client.raw(MOUNT, 3, 2, &[]), [0; 4]);
}

#[test]
fn portmap_tells_where_our_programs_are_and_changes_nothing() {
    let node = node();
    let mut client = node.client_of(Programs::Portmap, A);
    let words = |numbers: &[u32]| -> Vec<u8> {
        numbers.iter().flat_map(|word| word.to_be_bytes()).collect()
    };
    let mut port = |program, version, protocol| {
        client.raw(PORTMAP, 2, 3, &words(&[program, version, protocol, 0]))
    };
    assert_eq!(port(NFS, 3, 6), words(&[2049]));
    assert_eq!(port(MOUNT, 3, 17), words(&[2049]));
    assert_eq!(port(NFS, 3, 17), words(&[0]));
    assert_eq!(port(100_021, 4, 6), words(&[0]), "no lock manager");
    let set = words(&[NFS, 3, 6, 4000]);
    assert_eq!(client.raw(PORTMAP, 2, 1, &set), words(&[0]));
    assert_eq!(client.raw(PORTMAP, 2, 2, &set), words(&[0]));
    assert_eq!(client.raw(PORTMAP, 2, 4, &[]).len() % 20, 4);
    let rpcb = |version| {
        let head = words(&[NFS, version]);
        [head, string("tcp"), string(""), string("")].concat()
    };
    assert_eq!(client.raw(PORTMAP, 3, 3, &rpcb(3)), string("10.0.0.99.8.1"));
    assert_eq!(client.raw(PORTMAP, 4, 3, &rpcb(4)), string("10.0.0.99.8.1"));
    assert_eq!(client.raw(PORTMAP, 4, 9, &rpcb(4)), string(""));
    assert_eq!(client.raw(PORTMAP, 4, 9, &rpcb(3)), string("10.0.0.99.8.1"));
    for (version, procedure) in [(2, 5), (3, 5), (4, 5), (4, 10)] {
        let call = message(1, PORTMAP, version, procedure, &nobody(), &[]);
        assert_eq!(client.words(&call)[5], 3, "no indirect call");
    }
}

/// Threat N15.
#[test]
fn datagrams_are_answered_to_listed_addresses_only() {
    let node = node();
    let ask = |address: &str, call: &[u8]| {
        let address: SocketAddr = address.parse().unwrap();
        let local = "10.0.0.99:111".parse().unwrap();
        datagram(&node.server, &Peer { address, local }, call)
    };
    let dump = message(1, PORTMAP, 2, 4, &nobody(), &[]);
    assert!(ask("192.168.0.1:700", &dump).is_none());
    let reply = ask(A, &dump).unwrap();
    assert_eq!(
        reply[..8],
        [0, 0, 0, 1, 0, 0, 0, 1],
        "xid first: no record mark"
    );
    assert!(
        ask(A, &message(1, NFS, 3, 0, &nobody(), &[])).is_some(),
        "refused, not served"
    );
    let mount = message(1, MOUNT, 3, 1, &nobody(), &string("/models"));
    assert_eq!(ask(A, &mount).unwrap()[24..28], [0; 4]);
    assert!(ask(A, b"what?").is_none());
}

/// Threat N6: the stream is not read further while this many calls are under way.
#[test]
fn calls_on_the_pool_are_bounded() {
    let node = node();
    let mut connection = node.desk.connection(Programs::Nfs, peer(A)).unwrap();
    let root = pack(&node.root("projects"));
    let call = record(&message(1, NFS, 3, 18, &nobody(), &root));
    let stream = call.repeat(CALLS_IN_FLIGHT_MAX + 5);
    let mut output = Output::default();
    let mut input = &stream[..];
    let demand = connection.advance(&mut input, &mut output);
    assert!(matches!(demand, Demand::Pause));
    assert_eq!(input.len(), call.len() * 5);
    let (_, _, mut jobs) = output.take();
    assert_eq!(jobs.len(), CALLS_IN_FLIGHT_MAX);
    assert!(!connection.is_idle());
    let done = jobs.pop().unwrap()();
    assert!(matches!(
        connection.completed(done, &mut output),
        Demand::Input
    ));
    assert!(matches!(
        connection.advance(&mut input, &mut output),
        Demand::Pause
    ));
    assert_eq!(input.len(), call.len() * 4);
}

/// Threats N1 and N7: what a claim of 1 MiB makes us hold is what has arrived.
#[test]
fn memory_follows_what_has_arrived() {
    let node = node();
    let mut connection = node.desk.connection(Programs::Nfs, peer(A)).unwrap();
    let mut output = Output::default();
    let mut stream = (0x8010_0000_u32).to_be_bytes().to_vec();
    stream.extend_from_slice(&message(1, NFS, 3, 10, &nobody(), &[]));
    let mut input = &stream[..];
    assert!(matches!(
        connection.advance(&mut input, &mut output),
        Demand::Input
    ));
    assert!(connection.bytes_held() <= 64, "{}", connection.bytes_held());
}

#[test]
fn the_file_of_a_write_is_opened_while_the_stream_waits() {
    let node = node();
    write_file(node.path("projects/a"), b"");
    let mut client = node.client(A);
    let arguments = [pack(&node.root("projects")), string("a")].concat();
    let found = client.raw(NFS, 3, 3, &arguments);
    let length = 4 + usize::from(found[7]).next_multiple_of(4);
    let handle = found[4..4 + length].to_vec();
    let mut connection = node.desk.connection(Programs::Nfs, peer(A)).unwrap();
    let mut output = Output::default();
    let tail = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 5];
    let arguments = [&handle[..], &tail, b"hello\0\0\0"].concat();
    let stream = record(&message(3, NFS, 3, 7, &unix(&me()), &arguments));
    // The head is enough; the data need not be there.
    let head = &stream[..stream.len() - 8];
    let mut input = head;
    assert!(matches!(
        connection.advance(&mut input, &mut output),
        Demand::Pause
    ));
    assert_eq!(
        input.len(),
        head.len(),
        "nothing is taken before the file is open"
    );
    let (_, _, mut jobs) = output.take();
    let done = jobs.pop().unwrap()();
    assert!(matches!(
        connection.completed(done, &mut output),
        Demand::Input
    ));
    let Demand::Payload(payload) = connection.advance(&mut input, &mut output) else {
        panic!("the place of the data");
    };
    assert!(input.is_empty() && payload.length == 5);
    assert_eq!(payload.sink.unwrap().offset, 0);
    let full = towline_io::PayloadFault::Write(rustix::io::Errno::NOSPC);
    connection.received(Err(full), &mut output);
    let (reply, _, _) = output.take();
    assert_eq!(reply[28..32], [0, 0, 0, 28], "NFS3ERR_NOSPC");
    // Padding and the next call.
    let next = record(&message(4, NFS, 3, 0, &nobody(), &[]));
    let rest = [&[0; 3][..], &next].concat();
    connection.advance(&mut &rest[..], &mut output);
    let (reply, _, _) = output.take();
    assert_eq!(reply[4..8], [0, 0, 0, 4]);
}
