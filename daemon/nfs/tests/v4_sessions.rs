//! Sessions, slots and client ids of NFSv4.1, byte by byte against RFC 8881.
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

#[test]
fn minor_version_0_is_refused_and_1_and_2_are_served() {
    let node = node();
    let mut client = node.client(A);
    let refused = compound(&mut client, 0, Ops::default().put_root());
    assert_eq!((refused.status, refused.count), (10_021, 0));
    let refused = compound(&mut client, 3, Ops::default().put_root());
    assert_eq!(refused.status, 10_021);
    for minor in [1, 2] {
        let mut session = Session::new(&mut client, &format!("served {minor}"), minor);
        assert_eq!(session.call(&mut client, Ops::default()).status, 0);
    }
}

#[test]
fn an_operation_stands_in_a_session_or_alone() {
    let node = node();
    let mut client = node.client(A);
    let mut status = |ops: Ops| compound(&mut client, 1, ops).status;
    assert_eq!(
        status(Ops::default().put_root()),
        10_071,
        "OP_NOT_IN_SESSION"
    );
    assert_eq!(status(Ops::default()), 0, "nothing is done well");
    assert_eq!(status(Ops::default().op(2)), 10_044, "OP_ILLEGAL");
    let two = Ops::default().op(44).fixed(&[0; 16]).put_root();
    assert_eq!(status(two), 10_081, "NOT_ONLY_OP");
    let mut session = Session::new(&mut client, "me", 1);
    let twice = session.call(&mut client, Ops::default().op(53).fixed(&[0; 32]));
    assert_eq!(twice.status, 10_064, "SEQUENCE_POS");
}

/// `ls` on Linux 7.2 fails where GET_DIR_DELEGATION is answered with OP_ILLEGAL.
#[test]
fn what_is_known_and_not_done_is_not_supported_and_never_illegal() {
    let node = node();
    let mut client = node.client(A);
    for minor in [1, 2] {
        let mut session = Session::new(&mut client, &format!("known {minor}"), minor);
        let root = || Ops::default().put_root();
        for operation in [19, 20, 30, 35, 36, 39, 46, 47, 48, 49, 50, 51, 54, 56] {
            let answer = session.call(&mut client, root().op(operation));
            assert_eq!(answer.status, 10_004, "operation {operation}");
        }
        for operation in [61, 63, 64, 65, 66, 67, 68, 70] {
            let mut answer = session.call(&mut client, root().op(operation));
            let wanted = if minor == 1 { 10_044 } else { 10_004 };
            assert_eq!(answer.status, wanted, "operation {operation}");
            answer.well(24);
            let told = if minor == 1 { 10_044 } else { operation };
            assert_eq!(answer.word(), told);
        }
        let answer = session.call(&mut client, root().op(76));
        assert_eq!(answer.status, 10_044);
    }
}

#[test]
fn a_call_that_comes_twice_is_carried_out_once() {
    let node = node();
    let mut client = node.client(A);
    let mut session = Session::new(&mut client, "me", 1);
    let dir = session.handle(&mut client, &["projects"]);
    std::fs::write(node.path("projects/a"), "x").unwrap();
    let remove = Ops::default().put(&dir).op(28).opaque(b"a");
    let next = session.sequence + 1;
    let first = session.send(&mut client, next, true, &remove);
    assert_eq!(status_of(&first), 0);
    // Over another connection, as after a cut.
    let mut other = node.client("10.0.0.1:701");
    assert_eq!(session.send(&mut other, next, true, &remove), first);
    let changed = Ops::default().put(&dir).op(28).opaque(b"b");
    let false_retry = session.send(&mut other, next, true, &changed);
    assert_eq!(status_of(&false_retry), 10_076, "SEQ_FALSE_RETRY");
    let ahead = session.send(&mut other, next + 2, true, &remove);
    assert_eq!(status_of(&ahead), 10_063, "SEQ_MISORDERED");
    let look = Ops::default().put(&dir).get_size();
    let plain = session.send(&mut other, next + 1, false, &look);
    assert_eq!(status_of(&plain), 0);
    let again = session.send(&mut other, next + 1, false, &look);
    assert_eq!(status_of(&again), 10_068, "RETRY_UNCACHED_REP");
}

#[test]
fn sessions_and_clients_go_when_they_are_told_to() {
    let node = node();
    let mut client = node.client(A);
    let mut session = Session::new(&mut client, "me", 1);
    let held = || Ops::default().op(57).long(session.client);
    let destroy = Ops::default().op(57).long(session.client);
    assert_eq!(
        compound(&mut client, 1, held()).status,
        10_074,
        "CLIENTID_BUSY"
    );
    let end = Ops::default().op(44).fixed(&session.id);
    assert_eq!(compound(&mut client, 1, end.clone()).status, 0);
    assert_eq!(compound(&mut client, 1, end).status, 10_052, "BADSESSION");
    session.sequence += 1;
    let late = session.send(&mut client, 9, false, &Ops::default());
    assert_eq!(status_of(&late), 10_052);
    assert_eq!(compound(&mut client, 1, destroy.clone()).status, 0);
    assert_eq!(
        compound(&mut client, 1, destroy).status,
        10_022,
        "STALE_CLIENTID"
    );
}

/// Threat N15: no export, no client id.
#[test]
fn an_address_without_an_export_gets_no_client_id_and_sees_no_volume() {
    let node = node();
    let mut stranger = node.client("192.168.0.1:700");
    let exchange = Ops::default()
        .op(42)
        .fixed(b"verifier")
        .opaque(b"stranger")
        .word(0)
        .word(0)
        .word(0);
    assert_eq!(compound(&mut stranger, 1, exchange).status, 1, "PERM");
}

#[test]
fn a_reply_that_would_be_too_long_is_refused_before_it_is_made() {
    let node = node();
    let mut client = node.client(A);
    let mut session = Session::new(&mut client, "me", 1);
    let dir = session.handle(&mut client, &["projects"]);
    std::fs::write(node.path("projects/a"), "x").unwrap();
    // Eight GETATTRs of everything do not fit in the 1,024 bytes that are kept.
    let mut many = Ops::default().put(&dir);
    for _ in 0..5 {
        many = many.op(9).word(2).word(u32::MAX).word(0x00b0_a23a);
    }
    let next = session.sequence + 1;
    let kept = session.send(&mut client, next, true, &many);
    assert_eq!(status_of(&kept), 10_067, "REP_TOO_BIG_TO_CACHE");
    let free = session.send(&mut client, next + 1, false, &many);
    assert_eq!(status_of(&free), 0);
    let mut nine = Ops::default();
    for _ in 0..8 {
        nine = nine.put_root();
    }
    let refused = session.send(&mut client, next + 2, false, &nine);
    assert_eq!(status_of(&refused), 10_070, "TOO_MANY_OPS");
}

#[test]
fn the_root_lists_what_may_be_reached_and_leads_there_twice() {
    let node = node();
    let mut client = node.client(A);
    let mut session = Session::new(&mut client, "me", 2);
    let direct = session.handle(&mut client, &["models"]);
    let by_habit = session.handle(&mut client, &["exports", "models"]);
    assert_eq!(direct, by_habit);
    let missing = Ops::default().put_root().lookup("nowhere");
    assert_eq!(session.call(&mut client, missing).status, 2);
    // Above a volume is the root, and above that nothing (threat N8).
    let up = Ops::default().put(&direct).op(16);
    assert_eq!(session.call(&mut client, up.clone()).status, 0);
    assert_eq!(session.call(&mut client, up.op(16)).status, 2);
    let list = Ops::default()
        .put_root()
        .op(26)
        .long(0)
        .fixed(&[0; 8])
        .word(4096)
        .word(4096)
        .word(1)
        .word(1 << 20);
    let mut listed = session.call(&mut client, list);
    listed.well(24);
    listed.well(26).fixed(8);
    let mut names = Vec::new();
    while listed.word() == 1 {
        assert!(listed.long() > 2, "cookies 1 and 2 are not used");
        names.push(String::from_utf8(listed.opaque()).unwrap());
        assert_eq!(
            (listed.word(), listed.word(), listed.word()),
            (1, 1 << 20, 8)
        );
        assert_ne!(listed.long(), 0, "no file id is 0");
    }
    assert_eq!(listed.word(), 1, "the end");
    assert_eq!(names, ["projects", "models", "cache"]);
}
