//! Files over NFSv4.1: opens, reads, streamed writes, share reservations and locks.
//!
//! Not covered: how a real client takes it, which the guest's kernel shows.

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
const B: &str = "10.0.0.2:700";
const ANONYMOUS: [u8; 16] = [0; 16];

struct User {
    client: Client,
    session: Session,
    dir: Vec<u8>,
}

impl User {
    fn new(node: &Node, address: &str, name: &str) -> Self {
        let mut client = node.client(address);
        let mut session = Session::new(&mut client, name, 1);
        let dir = session.handle(&mut client, &["projects"]);
        Self {
            client,
            session,
            dir,
        }
    }

    fn call(&mut self, ops: Ops) -> Answer {
        self.session.call(&mut self.client, ops)
    }

    /// Opens a file that is there; its handle and stateid.
    fn open(&mut self, share: (u32, u32), name: &str) -> Result<(Vec<u8>, Vec<u8>), u32> {
        let ops = Ops::default().put(&self.dir).open("owner", share, name);
        let mut opened = self.call(ops.get_handle());
        if opened.status != 0 {
            return Err(opened.status);
        }
        opened.well(22);
        let stateid = opened.opened();
        Ok((opened.well(10).opaque(), stateid))
    }
}

#[test]
fn a_file_is_made_written_read_and_closed() {
    let node = node();
    let mut user = User::new(&node, A, "a");
    let ops = Ops::default()
        .put(&user.dir)
        .make("owner", "new")
        .get_handle();
    let mut made = user.call(ops);
    assert_eq!(made.status, 0);
    made.well(22);
    let open = made.opened();
    let file = made.well(10).opaque();
    // As Linux sends it: the data goes straight from the socket into the file.
    let write = Ops::default().put(&file).write(&open, 0, 0, b"hello world");
    let mut wrote = user.call(write.get_size());
    assert_eq!(wrote.status, 0);
    assert_eq!(user.client.payloads, 1);
    wrote.well(22);
    wrote.well(38);
    assert_eq!((wrote.word(), wrote.word()), (11, 0));
    let verifier = wrote.fixed(8);
    wrote.well(9);
    assert_eq!(
        (wrote.word(), wrote.word(), wrote.word(), wrote.long()),
        (1, 16, 8, 11)
    );
    let stable = Ops::default().put(&file).write(&open, 6, 2, b"earth!!");
    let mut wrote = user.call(stable);
    wrote.well(22);
    wrote.well(38);
    assert_eq!((wrote.word(), wrote.word()), (7, 2));
    assert_eq!(wrote.fixed(8), verifier);
    let mut read = user.call(Ops::default().put(&file).read(&open, 0, 100));
    read.well(22);
    assert_eq!(read.well(25).word(), 1, "the end of the file");
    assert_eq!(read.opaque(), b"hello earth!!");
    // In the middle of a COMPOUND the bytes are copied.
    let mut read = user.call(Ops::default().put(&file).read(&open, 6, 5).get_size());
    read.well(22);
    assert_eq!(
        (read.well(25).word(), read.opaque()),
        (0, b"earth".to_vec())
    );
    read.well(9);
    assert_eq!(user.call(Ops::default().put(&file).close(&open)).status, 0);
    let late = user.call(Ops::default().put(&file).read(&open, 0, 100));
    assert_eq!(late.status, 10_025, "BAD_STATEID");
    let census = node.server.held().unwrap();
    assert_eq!((census.clients, census.opens), (1, 0));
}

/// A READ or WRITE needs an open for that, of this file, by this client.
#[test]
fn a_stateid_is_judged_by_client_file_and_access() {
    let node = node();
    std::fs::write(node.path("projects/f"), "contents").unwrap();
    std::fs::write(node.path("projects/g"), "contents").unwrap();
    let (mut one, mut two) = (User::new(&node, A, "a"), User::new(&node, B, "b"));
    let (file, open) = one.open((1, 0), "f").unwrap();
    let (other_file, _) = one.open((1, 0), "g").unwrap();
    let status = |user: &mut User, ops: Ops| user.call(ops).status;
    let read = |file: &[u8]| Ops::default().put(file).read(&open, 0, 9);
    assert_eq!(status(&mut one, read(&file)), 0);
    assert_eq!(status(&mut two, read(&file)), 10_025, "another client's");
    assert_eq!(
        status(&mut one, read(&other_file)),
        10_025,
        "another file's"
    );
    let write = Ops::default().put(&file).write(&open, 0, 0, b"x");
    assert_eq!(status(&mut one, write), 10_038, "OPENMODE");
    let mut older = open.clone();
    older[3] = 2;
    let ahead = Ops::default().put(&file).read(&older, 0, 9);
    assert_eq!(status(&mut one, ahead), 10_025, "a seqid of the future");
    one.open((2, 0), "f").unwrap();
    assert_eq!(status(&mut one, read(&file)), 10_024, "OLD_STATEID");
    let newest = [&[0; 4], &open[4..]].concat();
    let write = Ops::default().put(&file).write(&newest, 0, 0, b"x");
    assert_eq!(status(&mut one, write), 0, "the open has grown");
    assert_eq!(std::fs::read(node.path("projects/f")).unwrap(), b"xontents");
}

#[test]
fn what_is_denied_is_denied_to_opens_and_to_special_stateids() {
    let node = node();
    std::fs::write(node.path("projects/f"), "contents").unwrap();
    let (mut one, mut two) = (User::new(&node, A, "a"), User::new(&node, B, "b"));
    let (file, open) = one.open((1, 2), "f").unwrap();
    assert_eq!(two.open((2, 0), "f").map(drop), Err(10_015), "SHARE_DENIED");
    assert_eq!(two.open((1, 1), "f").map(drop), Err(10_015));
    let (_, reader) = two.open((1, 0), "f").unwrap();
    let write = Ops::default().put(&file).write(&ANONYMOUS, 0, 0, b"x");
    assert_eq!(two.call(write.clone()).status, 10_012, "LOCKED");
    assert_eq!(one.call(Ops::default().put(&file).close(&open)).status, 0);
    assert_eq!(two.call(write).status, 0);
    assert_eq!(two.call(Ops::default().put(&file).close(&reader)).status, 0);
}

#[test]
fn locks_conflict_between_clients_and_go_with_unlock() {
    let node = node();
    std::fs::write(node.path("projects/f"), "contents").unwrap();
    let (mut one, mut two) = (User::new(&node, A, "a"), User::new(&node, B, "b"));
    let (file, mine) = one.open((3, 0), "f").unwrap();
    let (_, theirs) = two.open((3, 0), "f").unwrap();
    let lock =
        |open: &[u8], kind, range| Ops::default().put(&file).lock(open, "owner", kind, range);
    let mut locked = one.call(lock(&mine, 2, (0, 10)));
    assert_eq!(locked.status, 0);
    locked.well(22);
    let held = locked.well(12).fixed(16);
    let mut denied = two.call(lock(&theirs, 1, (5, u64::MAX)));
    assert_eq!(denied.status, 10_010, "DENIED");
    denied.well(22);
    assert_eq!((denied.word(), denied.word()), (12, 10_010));
    assert_eq!((denied.long(), denied.long(), denied.word()), (0, 10, 2));
    assert_eq!(
        (denied.long(), denied.opaque()),
        (one.session.client, b"owner".to_vec())
    );
    assert_eq!(two.call(lock(&theirs, 2, (10, 5))).status, 0, "beside it");
    assert_eq!(
        two.call(lock(&theirs, 2, (0, 0))).status,
        22,
        "an empty range"
    );
    let busy = one.call(Ops::default().put(&file).close(&mine));
    assert_eq!(busy.status, 10_037, "LOCKS_HELD");
    let unlock = Ops::default().put(&file).unlock(&held, (0, u64::MAX));
    assert_eq!(one.call(unlock).status, 0);
    assert_eq!(two.call(lock(&theirs, 2, (0, 10))).status, 0);
    assert_eq!(one.call(Ops::default().put(&file).close(&mine)).status, 0);
    assert_eq!(node.server.held().unwrap().lock_owners, 1);
}

#[test]
fn nothing_is_opened_before_reclaiming_is_over() {
    let node = node();
    std::fs::write(node.path("projects/f"), "contents").unwrap();
    let mut client = node.client(A);
    let mut session = Session::before_reclaim(&mut client, "a", 1);
    let dir = session.handle(&mut client, &["projects"]);
    let open = || Ops::default().put(&dir).open("owner", (1, 0), "f");
    assert_eq!(session.call(&mut client, open()).status, 10_013, "GRACE");
    let complete = || Ops::default().op(58).word(0);
    assert_eq!(session.call(&mut client, complete()).status, 0);
    assert_eq!(session.call(&mut client, complete()).status, 10_054);
    assert_eq!(session.call(&mut client, open()).status, 0);
}

#[test]
fn names_are_made_moved_linked_and_removed_with_the_directorys_change() {
    let node = node();
    let mut user = User::new(&node, A, "a");
    let dir = user.dir.clone();
    let no_attributes = |ops: Ops| ops.word(0).word(0);
    let make = |name: &str| {
        no_attributes(
            Ops::default()
                .put(&dir)
                .op(6)
                .word(2)
                .opaque(name.as_bytes()),
        )
    };
    let mut made = user.call(make("sub"));
    assert_eq!(made.status, 0);
    made.well(22);
    assert_eq!(made.well(6).word(), 1, "atomic");
    let (before, after) = (made.long(), made.long());
    assert_ne!(before, after);
    assert_eq!(user.call(make("sub")).status, 17);
    std::fs::write(node.path("projects/f"), "x").unwrap();
    let rename = Ops::default()
        .put(&dir)
        .op(32)
        .put(&dir)
        .lookup("sub")
        .op(29)
        .opaque(b"f")
        .opaque(b"g");
    assert_eq!(user.call(rename).status, 0);
    let link = Ops::default()
        .put(&dir)
        .lookup("sub")
        .lookup("g")
        .op(32)
        .put(&dir)
        .op(11)
        .opaque(b"again");
    assert_eq!(user.call(link).status, 0);
    assert_eq!(std::fs::read(node.path("projects/again")).unwrap(), b"x");
    let remove = |name: &str| Ops::default().put(&dir).op(28).opaque(name.as_bytes());
    assert_eq!(user.call(remove("sub")).status, 66, "NOTEMPTY");
    assert_eq!(user.call(remove("again")).status, 0);
    std::fs::remove_file(node.path("projects/sub/g")).unwrap();
    assert_eq!(user.call(remove("sub")).status, 0);
    assert_eq!(user.call(remove("sub")).status, 2);
}

/// Threat N12: nothing of a read-only volume changes, whatever is asked.
#[test]
fn a_read_only_volume_refuses_every_change() {
    let node = node();
    std::fs::write(node.path("models/f"), "contents").unwrap();
    let mut user = User::new(&node, A, "a");
    let models = user.session.handle(&mut user.client, &["models"]);
    let file = user.session.handle(&mut user.client, &["models", "f"]);
    let dir = || Ops::default().put(&models);
    let changes = [
        dir().op(28).opaque(b"f"),
        dir().op(6).word(2).opaque(b"sub").word(0).word(0),
        dir().op(32).put(&models).op(29).opaque(b"f").opaque(b"g"),
        Ops::default()
            .put(&file)
            .op(32)
            .put(&models)
            .op(11)
            .opaque(b"g"),
        Ops::default()
            .put(&file)
            .op(34)
            .fixed(&ANONYMOUS)
            .word(2)
            .word(0)
            .word(2)
            .opaque(&[0, 0, 1, 0]),
        Ops::default().put(&file).write(&ANONYMOUS, 0, 0, b"x"),
        dir().open("owner", (2, 0), "f"),
        dir().make("owner", "new"),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        assert_eq!(user.call(change).status, 30, "ROFS, change {number}");
    }
    assert_eq!(std::fs::read(node.path("models/f")).unwrap(), b"contents");
}

/// Attributes, holes and copies of minor version 2.
#[test]
fn extended_attributes_are_set_listed_and_removed() {
    let node = node();
    std::fs::write(node.path("projects/f"), "contents").unwrap();
    let mut client = node.client(A);
    let mut session = Session::new(&mut client, "a", 2);
    let file = session.handle(&mut client, &["projects", "f"]);
    let put = || Ops::default().put(&file);
    let set = |how: u32, value: &[u8]| put().op(73).word(how).opaque(b"colour").opaque(value);
    let mut call = |ops: Ops| session.call(&mut client, ops);
    let first = call(set(1, b"red"));
    if first.status == 10_004 {
        // The file system below the temporary directory has no extended attributes.
        return;
    }
    assert_eq!(first.status, 0);
    assert_eq!(
        call(set(1, b"blue")).status,
        17,
        "CREATE of one that is there"
    );
    assert_eq!(call(set(2, b"green")).status, 0);
    let mut found = call(put().op(72).opaque(b"colour"));
    found.well(22);
    assert_eq!(found.well(72).opaque(), b"green");
    let mut listed = call(put().op(74).long(0).word(1000));
    listed.well(22);
    listed.well(74).long();
    assert_eq!(
        (listed.word(), listed.opaque(), listed.word()),
        (1, b"colour".to_vec(), 1)
    );
    assert_eq!(call(put().op(75).opaque(b"colour")).status, 0);
    assert_eq!(
        call(put().op(75).opaque(b"colour")).status,
        10_095,
        "NOXATTR"
    );
    assert_eq!(call(put().op(72).opaque(b"colour")).status, 10_095);
    assert_eq!(call(set(2, b"x")).status, 10_095);
    assert_eq!(call(set(0, &vec![0; 70_000])).status, 10_096, "XATTR2BIG");
}

#[test]
fn holes_are_found_made_and_filled_and_files_are_copied() {
    let node = node();
    let mut bytes = vec![0; 1 << 20];
    bytes[..5].copy_from_slice(b"hello");
    std::fs::write(node.path("projects/f"), &bytes).unwrap();
    std::fs::write(node.path("projects/g"), b"").unwrap();
    let mut client = node.client(A);
    let mut session = Session::new(&mut client, "a", 2);
    let file = session.handle(&mut client, &["projects", "f"]);
    let copy = session.handle(&mut client, &["projects", "g"]);
    let put = || Ops::default().put(&file);
    let mut call = |ops: Ops| session.call(&mut client, ops);
    let punch = put().op(62).fixed(&ANONYMOUS).long(65_536).long(65_536);
    assert_eq!(call(punch).status, 0);
    let seek = |what: u32, from: u64| put().op(69).fixed(&ANONYMOUS).long(from).word(what);
    let mut hole = call(seek(1, 0));
    hole.well(22);
    hole.well(69).word();
    // A file system without holes has one at the end only.
    assert!([65_536, 1 << 20].contains(&hole.long()));
    let mut data = call(seek(0, 0));
    data.well(22);
    assert_eq!((data.well(69).word(), data.long()), (0, 0));
    assert_eq!(call(seek(0, 1 << 20)).status, 6, "NXIO behind the end");
    assert_eq!(call(seek(2, 0)).status, 22);
    let grow = put().op(59).fixed(&ANONYMOUS).long(1 << 20).long(4096);
    assert_eq!(call(grow).status, 0);
    assert_eq!(
        std::fs::metadata(node.path("projects/f")).unwrap().len(),
        (1 << 20) + 4096
    );
    let copying = |count: u64| {
        put()
            .op(32)
            .put(&copy)
            .op(60)
            .fixed(&ANONYMOUS)
            .fixed(&ANONYMOUS)
            .long(0)
            .long(3)
            .long(count)
            .word(1)
            .word(1)
    };
    let mut copied = call(copying(5).word(0));
    assert_eq!(copied.status, 0);
    copied.well(22);
    copied.well(32);
    copied.well(22);
    assert_eq!(
        (copied.well(60).word(), copied.long(), copied.word()),
        (0, 5, 0)
    );
    assert_eq!(
        std::fs::read(node.path("projects/g")).unwrap(),
        b"\0\0\0hello"
    );
    assert_eq!(
        call(copying(5).word(1)).status,
        10_004,
        "from another server"
    );
}

/// Courtesy: a client that fell silent keeps what it has until somebody else wants it.
#[test]
fn a_silent_client_gives_way_to_who_wants_what_it_has() {
    let terms = towline_nfs::v4::Settings {
        lease_seconds: 1,
        ledger: None,
    };
    let node = node_of(|tree| std::sync::Arc::new(tree), terms);
    std::fs::write(node.path("projects/f"), "contents").unwrap();
    std::fs::write(node.path("projects/g"), "contents").unwrap();
    let (mut one, mut two) = (User::new(&node, A, "a"), User::new(&node, B, "b"));
    let (file, open) = one.open((1, 2), "f").unwrap();
    let (other_file, other_open) = one.open((1, 2), "g").unwrap();
    assert_eq!(two.open((2, 0), "f").map(drop), Err(10_015), "SHARE_DENIED");
    std::thread::sleep(std::time::Duration::from_millis(1_200));
    two.open((2, 0), "f").unwrap();
    let read = |file: &[u8], open: &[u8]| Ops::default().put(file).read(open, 0, 9);
    assert_eq!(one.call(read(&file, &open)).status, 10_011, "EXPIRED");
    assert_eq!(
        one.call(read(&other_file, &other_open)).status,
        0,
        "nobody wanted it"
    );
    let flags = |user: &mut User| {
        user.session.sequence += 1;
        let number = user.session.sequence;
        let reply = user
            .session
            .send(&mut user.client, number, false, &Ops::default());
        u32::from_be_bytes(reply[reply.len() - 4..].try_into().unwrap())
    };
    assert_eq!(flags(&mut one), 0x10, "EXPIRED_SOME_STATE_REVOKED");
    assert_eq!(
        one.call(Ops::default().op(45).fixed(&open)).status,
        0,
        "FREE_STATEID"
    );
    assert_eq!(flags(&mut one), 0);
    assert_eq!(
        two.open((2, 0), "g").map(drop),
        Err(10_015),
        "it is heard of again"
    );
}

/// What was held before a restart is given back to those who held it, and only to them.
#[test]
fn after_a_restart_locks_wait_for_those_who_may_reclaim() {
    let dir = tempfile::tempdir().unwrap();
    let terms = towline_nfs::v4::Settings {
        lease_seconds: 60,
        ledger: Some(dir.path().join("nfs4.ledger")),
    };
    let node = node_of(|tree| std::sync::Arc::new(tree), terms.clone());
    drop(User::new(&node, A, "a"));
    drop(node);
    let node = node_of(|tree| std::sync::Arc::new(tree), terms);
    std::fs::write(node.path("projects/f"), "contents").unwrap();
    let mut two = User::new(&node, B, "b");
    let (file, theirs) = two.open((3, 0), "f").unwrap();
    let lock = |open: &[u8]| Ops::default().put(&file).lock(open, "owner", 2, (0, 10));
    assert_eq!(two.call(lock(&theirs)).status, 10_013, "GRACE");
    let previous = |dir: &[u8]| {
        // CLAIM_PREVIOUS without a delegation.
        let ops = Ops::default()
            .put(dir)
            .op(18)
            .word(0)
            .word(3)
            .word(0)
            .long(0);
        ops.opaque(b"owner").word(0).word(1).word(0)
    };
    assert_eq!(two.call(previous(&file)).status, 10_033, "NO_GRACE");
    let mut client = node.client(A);
    let mut one = Session::before_reclaim(&mut client, "a", 1);
    let mut opened = one.call(&mut client, previous(&file));
    assert_eq!(opened.status, 0);
    opened.well(22);
    let mine = opened.opened();
    let mut reclaim = lock(&mine);
    // The flag behind the kind.
    let flag = 4 + 4 + file.len().next_multiple_of(4) + 4 + 4;
    reclaim.bytes[flag + 3] = 1;
    assert_eq!(one.call(&mut client, reclaim).status, 0);
    let complete = Ops::default().op(58).word(0);
    assert_eq!(one.call(&mut client, complete).status, 0);
    assert_eq!(
        two.call(lock(&theirs)).status,
        10_010,
        "DENIED: grace is over"
    );
}
