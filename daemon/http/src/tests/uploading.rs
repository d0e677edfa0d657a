//! PUT: whole files, chunks, pieces, and every way to break off.
//!
//! After each test the directory is looked at: nothing half-written may have a name there.

use std::fs;

use crate::Limits;

use super::driver::{Client, Node, Wants, split};

fn put(path: &str, fields: &str, body: &str) -> String {
    format!("PUT {path} HTTP/1.1\r\nHost: n\r\n{fields}\r\n\r\n{body}")
}

fn sized(path: &str, body: &str) -> String {
    put(path, &format!("Content-Length: {}", body.len()), body)
}

fn piece(path: &str, range: &str, body: &str) -> String {
    let fields = format!(
        "Content-Length: {}\r\nContent-Range: bytes {range}",
        body.len()
    );
    put(path, &fields, body)
}

fn names(node: &Node) -> Vec<String> {
    let entries = fs::read_dir(node.path("projects")).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_is_stored_and_replaced() {
    let node = Node::new();
    let mut client = node.client();
    let made = client.ask(&sized("/files/projects/a%20b", "hello"));
    assert_eq!(made.status, 201);
    assert_eq!(fs::read(node.path("projects/a b")).unwrap(), b"hello");
    let replaced = client.ask(&sized("/files/projects/a%20b", ""));
    assert_eq!(replaced.status, 204);
    assert_eq!(fs::read(node.path("projects/a b")).unwrap(), b"");
    let tag = replaced.field("ETag").unwrap().to_owned();
    let now = client.ask("GET /files/projects/a%20b HTTP/1.1\r\nHost: n\r\n\r\n");
    assert_eq!(now.field("ETag"), Some(&tag[..]));
    assert_eq!(names(&node), ["a b"]);
}

#[test]
fn a_chunked_body_is_stored_at_every_cut() {
    let node = Node::new();
    let stream = put(
        "/files/projects/c",
        "Transfer-Encoding: chunked",
        "5\r\nhello\r\n7;x=y\r\n, world\r\n0\r\nTrailer: z\r\n\r\n",
    ) + "GET /files/projects/c HTTP/1.1\r\nHost: n\r\n\r\n";
    for cut in 0..stream.len() {
        let mut client = node.client();
        let mut sent = client.send(&stream.as_bytes()[..cut]);
        sent.extend(client.send(&stream.as_bytes()[cut..]));
        let (stored, rest) = split(&sent, false);
        assert!(
            matches!(stored.status, 201 | 204),
            "cut at {cut}: {}",
            stored.head
        );
        assert_eq!(split(rest, false).0.text(), "hello, world", "cut at {cut}");
    }
}

#[test]
fn a_client_that_waits_is_told_to_go_on() {
    let node = Node::new();
    let mut client = node.client();
    let fields = "Content-Length: 2\r\nExpect: 100-continue";
    let first = client.send(put("/files/projects/x", fields, "").as_bytes());
    assert_eq!(first, b"HTTP/1.1 100 Continue\r\n\r\n");
    let reply = client.ask("hi");
    assert_eq!(reply.status, 201);
    let refused = client.ask(&put("/files/models/x", fields, ""));
    assert_eq!((refused.status, client.wants()), (403, Wants::Close));
}

#[test]
fn a_refused_body_is_skipped_and_the_connection_goes_on() {
    let node = Node::new();
    let mut client = node.client();
    let stream = sized("/files/models/x", "body") + &sized("/files/projects/x", "ok");
    let sent = client.send(stream.as_bytes());
    let (refused, rest) = split(&sent, false);
    assert_eq!(
        (refused.status, refused.text()),
        (403, "403 Forbidden: the volume is read-only\n".to_owned())
    );
    assert_eq!(split(rest, false).0.status, 201);
}

#[test]
fn conditions_guard_what_is_there() {
    let node = Node::new();
    let path = "/files/projects/x";
    let with = |fields: &str, body: &str| {
        node.ask(&put(
            path,
            &format!("{fields}\r\nContent-Length: {}", body.len()),
            body,
        ))
    };
    assert_eq!(with("If-Match: *", "a").status, 412);
    let first = with("If-None-Match: *", "a");
    assert_eq!(first.status, 201);
    assert_eq!(with("If-None-Match: *", "b").status, 412);
    let tag = first.field("ETag").unwrap();
    assert_eq!(with(&format!("If-Match: {tag}"), "bb").status, 204);
    assert_eq!(with(&format!("If-Match: {tag}"), "ccc").status, 412);
    assert_eq!(fs::read(node.path("projects/x")).unwrap(), b"bb");
    assert_eq!(names(&node), ["x"]);
}

/// Two uploads that both expect nothing there: one wins, whichever finishes first.
#[test]
fn a_condition_is_judged_again_when_the_body_has_come() {
    let node = Node::new();
    let request = put(
        "/files/projects/x",
        "If-None-Match: *\r\nContent-Length: 3",
        "",
    );
    let (mut one, mut two) = (node.client(), node.client());
    assert_eq!(one.send(request.as_bytes()), b"");
    assert_eq!(two.send(request.as_bytes()), b"");
    assert_eq!(two.ask("two").status, 201);
    assert_eq!(one.ask("one").status, 412);
    assert_eq!(fs::read(node.path("projects/x")).unwrap(), b"two");
    assert_eq!(names(&node), ["x"]);
}

#[test]
fn what_cannot_be_stored_is_refused_with_its_reason() {
    let node = Node::with(Limits {
        upload_bytes_max: 10,
    });
    fs::create_dir(node.path("projects/dir")).unwrap();
    let status = |request: &str| node.ask(request).status;
    assert_eq!(status(&sized("/files/projects/none/x", "a")), 409);
    assert_eq!(status(&sized("/files/projects/dir", "a")), 409);
    assert_eq!(status(&sized("/files/projects/dir/", "a")), 405);
    assert_eq!(status(&sized("/files/projects", "a")), 405);
    assert_eq!(status(&sized("/files/", "a")), 405);
    assert_eq!(status(&put("/files/projects/x", "X: y", "")), 411);
    assert_eq!(status(&sized("/files/projects/x", "0123456789")), 201);
    let mut client = node.client();
    let large = sized("/files/projects/x", "0123456789a");
    assert_eq!(
        (client.ask(&large).status, client.wants()),
        (413, Wants::Input)
    );
    let chunks = "6\r\nabcdef\r\n5\r\nghijk\r\n0\r\n\r\n";
    let chunked = put("/files/projects/y", "Transfer-Encoding: chunked", chunks);
    let mut client = node.client();
    assert_eq!(client.ask(&chunked).status, 413);
    assert_eq!(client.wants(), Wants::Close);
    assert_eq!(
        status(&put(
            "/files/projects/y",
            "Transfer-Encoding: chunked",
            "x\r\n"
        )),
        400
    );
    assert_eq!(names(&node), ["dir", "x"]);
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    let node = Node::new();
    let mut client = node.client();
    client.failing = Some(rustix::io::Errno::NOSPC);
    let reply = client.ask(&sized("/files/projects/x", "hello"));
    assert_eq!((reply.status, client.wants()), (507, Wants::Input));
    client.failing = None;
    assert_eq!(client.ask(&sized("/files/projects/x", "hello")).status, 201);
    assert_eq!(names(&node), ["x"]);
}

#[test]
fn a_plain_upload_that_breaks_off_leaves_nothing() {
    let node = Node::new();
    let mut client = node.client();
    let request = sized("/files/projects/x", "hello");
    assert_eq!(client.send(&request.as_bytes()[..request.len() - 2]), b"");
    drop(client);
    assert_eq!(names(&node), Vec::<String>::new());
}

fn held(client: &mut Client, total: u64) -> (u16, Option<String>) {
    let fields = format!("Content-Length: 0\r\nContent-Range: bytes */{total}");
    let reply = client.ask(&put("/files/projects/big", &fields, ""));
    (reply.status, reply.field("Range").map(str::to_owned))
}

#[test]
fn an_upload_in_pieces_goes_on_over_connections() {
    let node = Node::new();
    let path = "/files/projects/big";
    let mut client = node.client();
    assert_eq!(held(&mut client, 10), (308, None));
    assert_eq!(
        names(&node),
        Vec::<String>::new(),
        "a question leaves nothing"
    );
    let first = client.ask(&piece(path, "0-3/10", "0123"));
    assert_eq!(
        (first.status, first.field("Range")),
        (308, Some("bytes=0-3"))
    );
    drop(client);
    let mut client = node.client();
    assert_eq!(held(&mut client, 10), (308, Some("bytes=0-3".to_owned())));
    assert_eq!(
        held(&mut client, 11),
        (308, None),
        "another total is another upload"
    );
    let wrong = client.ask(&piece(path, "5-6/10", "56"));
    assert_eq!(
        (wrong.status, wrong.field("Range")),
        (409, Some("bytes=0-3"))
    );
    let again = client.ask(&piece(path, "0-3/10", "0123"));
    assert_eq!(
        (again.status, again.field("Range")),
        (409, Some("bytes=0-3"))
    );
    assert_eq!(client.ask(&piece(path, "4-9/10", "456789")).status, 201);
    assert_eq!(fs::read(node.path("projects/big")).unwrap(), b"0123456789");
    assert_eq!(names(&node), ["big"]);
}

#[test]
fn a_piece_that_breaks_off_keeps_what_arrived() {
    let node = Node::new();
    let mut client = node.client();
    let request = piece("/files/projects/big", "0-9/10", "0123456789");
    client.send(&request.as_bytes()[..request.len() - 3]);
    drop(client);
    let mut other = node.client_from("10.0.0.8:1");
    assert_eq!(
        held(&mut other, 10),
        (308, None),
        "another address, another upload"
    );
    let mut client = node.client();
    assert_eq!(held(&mut client, 10), (308, Some("bytes=0-6".to_owned())));
    assert_eq!(
        client
            .ask(&piece("/files/projects/big", "7-9/10", "789"))
            .status,
        201
    );
    assert_eq!(fs::read(node.path("projects/big")).unwrap(), b"0123456789");
}

#[test]
fn two_connections_do_not_mix_one_upload() {
    let node = Node::new();
    let (mut one, mut two) = (node.client(), node.client());
    let request = piece("/files/projects/big", "0-9/10", "0123456789");
    one.send(&request.as_bytes()[..request.len() - 3]);
    let reply = two.ask(&request);
    assert_eq!((reply.status, reply.field("Retry-After")), (503, Some("1")));
    assert_eq!(one.ask("789").status, 201);
}

#[test]
fn a_complete_upload_that_was_not_published_is_published_on_asking() {
    let node = Node::new();
    let mut client = node.client();
    let fields = "If-Match: *\r\nContent-Length: 4\r\nContent-Range: bytes 0-3/4";
    node.write("projects/big", b"old");
    let half = put("/files/projects/big", fields, "0123");
    client.send(&half.as_bytes()[..half.len() - 1]);
    fs::remove_file(node.path("projects/big")).unwrap();
    assert_eq!(
        client.ask("3").status,
        412,
        "what was to be replaced is gone"
    );
    let fields = "Content-Length: 0\r\nContent-Range: bytes */4";
    assert_eq!(
        client.ask(&put("/files/projects/big", fields, "")).status,
        201
    );
    assert_eq!(fs::read(node.path("projects/big")).unwrap(), b"0123");
}

#[test]
fn a_broken_content_range_is_refused() {
    let node = Node::new();
    for (range, body) in [
        ("0-3/4", "abc"),
        ("4-3/4", ""),
        ("0-4/4", "abcde"),
        ("x", ""),
    ] {
        let reply = node.ask(&piece("/files/projects/x", range, body));
        assert_eq!(reply.status, 400, "{range}");
    }
    let fields = "Transfer-Encoding: chunked\r\nContent-Range: bytes 0-3/4";
    let mut client = node.client();
    let sent = client.send(put("/files/projects/x", fields, "0\r\n\r\n").as_bytes());
    assert_eq!(split(&sent, false).0.status, 411);
}
