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

/// A client with a published file of the models open, and the delegation that came with it.
struct Reader {
    client: Client,
    session: Session,
    file: Vec<u8>,
    promise: Option<Vec<u8>>,
}

impl Reader {
    fn new(node: &Node, address: &str, name: &str) -> Self {
        let mut client = node.client(address);
        let session = Session::called_back(&mut client, name, 1);
        let mut this = Self {
            client,
            session,
            file: Vec::new(),
            promise: None,
        };
        this.promise = this.open(0).ok();
        this
    }

    /// Opens the file with wants; its delegation, or the kind of none and the reason.
    fn open(&mut self, wants: u32) -> Result<Vec<u8>, (u32, u32)> {
        let dir = self.session.handle(&mut self.client, &["models", "tag"]);
        let open = Ops::default().put(&dir).open("owner", (1 | wants, 0), "f");
        let mut opened = self.session.call(&mut self.client, open.get_handle());
        assert_eq!(opened.status, 0);
        opened.well(22);
        opened.well(18).fixed(16 + 4 + 16 + 4);
        let words = opened.word();
        opened.fixed(4 * words as usize);
        let given = match opened.word() {
            1 => {
                let stateid = opened.fixed(16);
                assert_eq!(opened.fixed(20), [0; 20], "not recalled, an empty nfsace4");
                Ok(stateid)
            }
            0 => Err((0, 0)),
            kind => {
                let why = opened.word();
                if [1, 2].contains(&why) {
                    assert_eq!(opened.word(), 0);
                }
                Err((kind, why))
            }
        };
        self.file = opened.well(10).opaque();
        given
    }

    fn call(&mut self, ops: Ops) -> Answer {
        self.session.call(&mut self.client, ops)
    }

    fn give_back(&mut self) -> u32 {
        let promise = self.promise.clone().expect("a delegation");
        let ops = Ops::default().put(&self.file).op(8).fixed(&promise);
        self.call(ops).status
    }
}

/// A node whose models have a published file, which has a name in the store too.
fn models() -> Node {
    let settings = towline_nfs::v4::Settings {
        lease_seconds: 2,
        ledger: None,
    };
    let node = node_of(|tree| std::sync::Arc::new(tree), settings);
    std::fs::create_dir(node.path("models/tag")).unwrap();
    std::fs::create_dir(node.path("models/.towline")).unwrap();
    std::fs::write(node.path("models/.towline/data"), "contents").unwrap();
    std::fs::hard_link(node.path("models/.towline/data"), node.path("models/tag/f")).unwrap();
    node
}

fn guarded() -> Node {
    let node = models();
    node.server
        .guard(vec![towline_volume::VolumeId::of_name("models")]);
    node
}

fn delegations(node: &Node) -> u64 {
    node.server.held().unwrap().delegations
}

#[test]
fn a_published_file_comes_with_a_delegation_that_reads_and_is_given_back() {
    let node = guarded();
    let mut reader = Reader::new(&node, A, "a");
    let promise = reader.promise.clone().expect("a delegation");
    assert_eq!(delegations(&node), 1);
    let read = Ops::default().put(&reader.file).read(&promise, 0, 100);
    assert_eq!(reader.call(read).status, 0);
    let test = Ops::default().op(55).word(1).fixed(&promise);
    let mut tested = reader.call(test);
    tested.well(55);
    assert_eq!((tested.word(), tested.word()), (1, 0));
    let free = Ops::default().op(45).fixed(&promise);
    assert_eq!(reader.call(free).status, 10_037, "LOCKS_HELD");
    assert_eq!(reader.open(0x100), Err((3, 2)), "there is one: RESOURCE");
    assert_eq!(reader.open(0x400), Err((3, 0)), "NOT_WANTED");
    assert_eq!(reader.give_back(), 0);
    assert_eq!(reader.give_back(), 10_025, "BAD_STATEID");
    assert_eq!(delegations(&node), 0);
    reader.promise = Some(reader.open(0x100).expect("another one"));
    // The client takes its promises along.
    let (end, client) = (reader.session.id.clone(), reader.session.client);
    let end = Ops::default().op(44).fixed(&end);
    assert_eq!(compound(&mut reader.client, 1, end).status, 0);
    let destroy = Ops::default().op(57).long(client);
    assert_eq!(compound(&mut reader.client, 1, destroy).status, 10_074);
}

#[test]
fn nothing_is_promised_of_what_may_change_or_to_whom_cannot_be_called() {
    let node = models();
    let mut reader = Reader::new(&node, A, "a");
    assert_eq!(reader.open(0x100), Err((3, 3)), "nobody tells of changes");
    let node = guarded();
    std::fs::remove_file(node.path("models/.towline/data")).unwrap();
    let mut reader = Reader::new(&node, A, "a");
    assert_eq!(reader.open(0x100), Err((3, 3)), "somebody's own file");
    let node = guarded();
    let mut client = node.client(A);
    let session = Session::new(&mut client, "a", 1);
    let mut reader = Reader {
        client,
        session,
        file: Vec::new(),
        promise: None,
    };
    assert_eq!(reader.open(0), Err((0, 0)));
    assert_eq!(
        reader.open(0x100),
        Err((3, 2)),
        "no way to call it: RESOURCE"
    );
}

/// The store waits until every client has given back what it was promised, and no longer.
#[test]
fn a_change_waits_until_the_promises_are_given_back() {
    let node = guarded();
    let mut one = Reader::new(&node, A, "a");
    let mut two = Reader::new(&node, "10.0.0.2:700", "b");
    assert_eq!(delegations(&node), 2);
    let (server, path) = (node.server.clone(), node.path("models/tag"));
    let started = std::time::Instant::now();
    let change = std::thread::spawn(move || server.changes_below(&path));
    for reader in [&mut one, &mut two] {
        let calls = std::iter::repeat_with(|| reader.client.heard());
        let calls = calls.take(1_000_000).find(|calls| !calls.is_empty());
        let mut recall = Heard::of(&calls.expect("a recall")[0]);
        assert_eq!((recall.operation, recall.sequence), (4, 1));
        assert_eq!(recall.arguments.fixed(16), reader.promise.clone().unwrap());
        assert_eq!(recall.arguments.word(), 0, "the file is not cut");
        assert_eq!(recall.arguments.opaque(), reader.file);
        recall.done(&mut reader.client, 0);
        assert_eq!(reader.open(0x100), Err((3, 1)), "CONTENTION");
        assert!(!change.is_finished());
        assert_eq!(reader.give_back(), 0);
    }
    change.join().unwrap();
    assert!(started.elapsed().as_millis() < 1_500, "not a lease");
    assert_eq!(one.open(0x100), Err((3, 1)), "the change follows now");
    assert_eq!(node.server.metrics().v4.revoked, 0);
}

/// Who does not give back in time loses it, is told so, and frees it.
#[test]
fn what_is_not_given_back_within_a_second_is_revoked() {
    let node = guarded();
    let mut reader = Reader::new(&node, A, "a");
    let promise = reader.promise.clone().unwrap();
    let started = std::time::Instant::now();
    node.server.changes_below(&node.path("models/tag/f"));
    let waited = started.elapsed().as_millis();
    assert!((900..1_900).contains(&waited), "{waited} ms");
    assert_eq!(reader.session.flags(&mut reader.client) & 0x40, 0x40);
    let read = Ops::default().put(&reader.file).read(&promise, 0, 100);
    assert_eq!(reader.call(read).status, 10_087, "DELEG_REVOKED");
    let free = Ops::default().op(45).fixed(&promise);
    assert_eq!(reader.call(free).status, 0);
    assert_eq!(reader.session.flags(&mut reader.client) & 0x40, 0);
    assert_eq!(delegations(&node), 0);
    assert_eq!(node.server.metrics().v4.revoked, 1);
}

/// An operator sees who holds what, and takes it from one of them; whoever waits is told.
#[test]
fn an_operator_sees_locks_and_takes_them_from_a_client() {
    let node = node();
    std::fs::write(node.path("projects/f"), "contents").unwrap();
    let mut one = User::new(&node, A, "a");
    let mut two = User::new(&node, "10.0.0.2:700", "b");
    one.lock("holder", 2, (10, 90)).unwrap();
    assert_eq!(two.lock("waiter", 4, (50, 10)), DENIED);
    let books = node.server.books().unwrap();
    let seen = books.clients_seen();
    let names: Vec<&[u8]> = seen.iter().map(|client| &*client.owner).collect();
    assert_eq!(names, [b"a", b"b"]);
    assert!(seen[0].is_proved && seen[0].holds == 2 && seen[0].sessions == 1);
    let (locks, more) = books.locks_seen();
    assert_eq!((locks.len(), more), (1, false));
    assert_eq!((locks[0].client, locks[0].span.first), (seen[0].id, 10));
    let file = node.server.file_of(&locks[0].handle);
    assert_eq!(file.map(|(volume, _)| volume).as_deref(), Some("projects"));
    assert!(books.revoke(7).is_none());
    assert_eq!(books.revoke(seen[0].id).map(|client| client.holds), Some(2));
    assert_eq!(two.client.heard().len(), 1, "the waiter is told");
    assert!(two.lock("waiter", 4, (50, 10)).is_ok());
    let after = one.session.send(&mut one.client, 9, false, &Ops::default());
    assert_eq!(status_of(&after), 10_052, "BADSESSION: it begins anew");
    assert_eq!(node.server.metrics().v4.expelled, 1);
}
