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
