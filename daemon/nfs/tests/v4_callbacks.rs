//! Callbacks of NFSv4.1, byte by byte against RFC 8881 section 20.
//!
//! Not covered: how a real client takes them, which the guest's kernel shows.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on panics"
)]

mod harness;

use harness::compounds::*;
use harness::*;

const A: &str = "10.0.0.1:700";
const PATH_DOWN: u32 = 0x1 | 0x200;

#[test]
fn a_session_that_asks_for_it_is_called_back_with_the_credential_that_it_named() {
    let node = node();
    let mut client = node.client(A);
    let mut session = Session::called_back(&mut client, "a", 1);
    assert_eq!(session.flags(&mut client), 0);
    // BACKCHANNEL_CTL: AUTH_SYS from now on. The path is tried again.
    let body = unix(&me()).1;
    let terms = Ops::default()
        .op(40)
        .word(0x4000_0000)
        .word(1)
        .word(1)
        .fixed(&body);
    assert_eq!(session.call(&mut client, terms).status, 0);
    let [check] = &client.heard()[..] else {
        panic!("one CB_NULL");
    };
    assert_eq!(Heard::of(check).credential, (1, body));
}

#[test]
fn who_asks_for_no_back_channel_has_none_and_is_told_of_none() {
    let node = node();
    let mut client = node.client(A);
    let mut session = Session::new(&mut client, "a", 1);
    assert!(client.heard().is_empty());
    assert_eq!(session.bind(&mut client, 3), 1, "the fore channel alone");
    drop(client);
    let mut client = node.client(A);
    assert_eq!(session.flags(&mut client), 0);
    // A reply that nobody asked for ends the connection.
    client.send(&record(&[0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0]));
    assert!(client.closed);
}

/// Linux goes on over a new connection, and binds it when SEQUENCE says that the path is down.
#[test]
fn a_lost_connection_is_told_of_until_another_one_is_bound() {
    let node = node();
    let mut client = node.client(A);
    let mut session = Session::called_back(&mut client, "a", 1);
    let mut other = node.client("10.0.0.1:701");
    assert_eq!(session.flags(&mut other), 0);
    drop(client);
    assert_eq!(session.flags(&mut other), PATH_DOWN);
    assert_eq!(session.bind(&mut other, 1), 1);
    assert_eq!(session.flags(&mut other), PATH_DOWN, "for the fore channel");
    assert_eq!(session.bind(&mut other, 3), 3);
    assert_eq!(session.flags(&mut other), 0);
    let [check] = &other.heard()[..] else {
        panic!("one CB_NULL");
    };
    let mut check = Heard::of(check);
    // Too old or made up: passed over.
    other.send(&record(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 0]));
    check.answer(&mut other, &[]);
    assert!(!other.closed);
    assert!(other.heard().is_empty());
}

/// A client that refuses callbacks is told so, and not asked without end.
#[test]
fn a_refused_callback_means_that_the_path_is_down() {
    let node = node();
    let mut client = node.client(A);
    let mut session = Session::called_back(&mut client, "a", 1);
    assert_eq!(session.bind(&mut client, 7), 3);
    let calls = client.heard();
    let xid = &calls[0][..4];
    // MSG_DENIED, AUTH_ERROR, AUTH_TOOWEAK.
    let denied = [xid, &[0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 5]].concat();
    client.send(&record(&denied));
    assert_eq!(session.flags(&mut client), PATH_DOWN);
    assert!(client.heard().is_empty());
}

#[test]
fn a_session_that_ends_takes_its_path_along() {
    let node = node();
    let mut client = node.client(A);
    let session = Session::called_back(&mut client, "a", 1);
    let end = Ops::default().op(44).fixed(&session.id);
    assert_eq!(compound(&mut client, 1, end).status, 0);
    client.send(&record(&[0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0]));
    assert!(!client.closed, "its last reply may have been on its way");
}

struct User {
    client: Client,
    session: Session,
    file: Vec<u8>,
    open: Vec<u8>,
}

impl User {
    /// A client that has a file open for reading and writing.
    fn new(node: &Node, address: &str, name: &str) -> Self {
        let mut client = node.client(address);
        let mut session = Session::called_back(&mut client, name, 1);
        let dir = session.handle(&mut client, &["projects"]);
        let ops = Ops::default()
            .put(&dir)
            .open(name, (3, 0), "f")
            .get_handle();
        let mut opened = session.call(&mut client, ops);
        assert_eq!(opened.status, 0);
        opened.well(22);
        let (open, flags) = opened.opened_with();
        assert_eq!(flags, 0x24, "LOCKTYPE_POSIX and MAY_NOTIFY_LOCK");
        let file = opened.well(10).opaque();
        Self {
            client,
            session,
            file,
            open,
        }
    }

    fn call(&mut self, ops: Ops) -> Answer {
        self.session.call(&mut self.client, ops)
    }

    fn lock(&mut self, owner: &str, kind: u32, range: (u64, u64)) -> Result<Vec<u8>, u32> {
        let ops = Ops::default().put(&self.file);
        let mut locked = self.call(ops.lock(&self.open.clone(), owner, kind, range));
        match locked.status {
            0 => {
                locked.well(22);
                Ok(locked.well(12).fixed(16))
            }
            status => Err(status),
        }
    }

    fn unlock(&mut self, lock: &[u8], range: (u64, u64)) -> Vec<u8> {
        let ops = Ops::default().put(&self.file).unlock(lock, range);
        let mut unlocked = self.call(ops);
        assert_eq!(unlocked.status, 0);
        unlocked.well(22);
        unlocked.well(14).fixed(16)
    }
}

const DENIED: Result<Vec<u8>, u32> = Err(10_010);

/// Whoever waits for a lock is told once, when nothing stands in its way any more.
#[test]
fn who_waits_for_a_lock_is_told_when_it_has_gone() {
    let node = node();
    std::fs::write(node.path("projects/f"), "contents").unwrap();
    let mut one = User::new(&node, A, "a");
    let mut two = User::new(&node, "10.0.0.2:700", "b");
    let lock = one.lock("holder", 2, (0, 100)).unwrap();
    assert_eq!(two.lock("waiter", 4, (50, 10)), DENIED);
    assert_eq!(two.lock("asker", 2, (50, 10)), DENIED);
    // What goes is not what is waited for.
    let lock = one.unlock(&lock, (0, 50));
    assert!(two.client.heard().is_empty());
    let lock = one.unlock(&lock, (50, 20));
    let calls = two.client.heard();
    assert_eq!(calls.len(), 1, "whoever did not wait is not told");
    let mut heard = Heard::of(&calls[0]);
    assert_eq!((heard.operation, heard.sequence), (13, 1));
    assert_eq!(heard.arguments.opaque(), two.file);
    assert_eq!(heard.arguments.long(), two.session.client);
    assert_eq!(heard.arguments.opaque(), b"waiter");
    heard.done(&mut two.client, 0);
    one.unlock(&lock, (0, u64::MAX));
    assert!(two.client.heard().is_empty(), "told once");
    assert!(two.lock("waiter", 4, (50, 10)).is_ok());
    // The next one in the slot; the waiter's own client is gone, with its lock.
    assert_eq!(one.lock("holder", 3, (55, 1)), DENIED);
    let file = two.file.clone();
    let gone = Ops::default()
        .op(42)
        .fixed(b"restarts")
        .opaque(b"b")
        .word(0)
        .word(0)
        .word(0);
    let mut exchanged = compound(&mut two.client, 1, gone);
    exchanged.well(42);
    let create = Ops::default()
        .op(43)
        .long(exchanged.long())
        .word(exchanged.word())
        .word(0)
        .channel(1_049_620, 8, 16)
        .channel(4096, 2, 1)
        .word(0x4000_0000)
        .word(0);
    assert_eq!(compound(&mut two.client, 1, create).status, 0);
    let calls = one.client.heard();
    assert_eq!(calls.len(), 1);
    assert_eq!(Heard::of(&calls[0]).arguments.opaque(), file);
}
