//! GET and HEAD: whole files, ranges, conditions, access, and what may not be reached.
//!
//! Hot and cold answers are compared, because they take different ways to the same bytes.

use super::driver::{Node, Wants, split};

const HOST: &str = "Host: n\r\n\r\n";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\n{HOST}")
}

fn get_with(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\n{fields}\r\n{HOST}")
}

fn node() -> Node {
    let node = Node::new();
    node.write("models/a.txt", b"0123456789");
    node
}

#[test]
fn a_file_comes_whole_with_what_describes_it() {
    let node = node();
    let mut client = node.client();
    let cold = client.ask(&get("/files/models/a.txt"));
    assert_eq!((cold.status, &cold.body[..]), (200, &b"0123456789"[..]));
    assert_eq!(
        cold.field("Content-Type"),
        Some("text/plain; charset=utf-8")
    );
    assert_eq!(cold.field("Accept-Ranges"), Some("bytes"));
    assert!(cold.field("Last-Modified").unwrap().ends_with("GMT"));
    assert!(cold.field("Date").unwrap().ends_with("GMT"));
    assert_eq!(client.jobs, 1);
    let hot = client.ask(&get("/files/models/a.txt"));
    assert_eq!((hot.status, hot.body, client.jobs), (200, cold.body, 1));
    let head = client.ask(&format!("HEAD /files/models/a.txt HTTP/1.1\r\n{HOST}"));
    assert_eq!(
        (head.status, head.field("Content-Length")),
        (200, Some("10"))
    );
    assert!(client.is_idle());
}

#[test]
fn pipelined_requests_are_answered_in_order_at_every_cut() {
    let node = node();
    node.write("models/b.txt", b"bb");
    let stream = [
        get("/files/models/a.txt"),
        get("/files/models/none"),
        format!("GET /files/models/b.txt HTTP/1.1\r\nContent-Length: 3\r\n{HOST}xyz"),
        get("/files/models/b.txt"),
    ]
    .concat();
    for cut in 0..stream.len() {
        let mut client = node.client();
        let mut sent = client.send(&stream.as_bytes()[..cut]);
        sent.extend(client.send(&stream.as_bytes()[cut..]));
        let mut rest = &sent[..];
        for (status, body) in [
            (200, &b"0123456789"[..]),
            (404, b""),
            (200, b"bb"),
            (200, b"bb"),
        ] {
            let (reply, behind) = split(rest, false);
            assert_eq!(reply.status, status, "cut at {cut}");
            assert!(status == 404 || reply.body == body, "cut at {cut}");
            rest = behind;
        }
        assert_eq!((rest, client.wants()), (&b""[..], Wants::Input));
    }
}

/// A few kilobytes of requests could otherwise become megabytes of replies in memory.
#[test]
fn a_flood_of_pipelined_requests_is_answered_in_bounded_bursts() {
    let node = node();
    let mut client = node.client();
    let sent = client.send(get("/files/").repeat(1_000).as_bytes());
    let (mut rest, mut count) = (&sent[..], 0);
    while !rest.is_empty() {
        rest = split(rest, false).1;
        count += 1;
    }
    assert_eq!(count, 1_000);
    let bound = crate::connection::REPLIES_BYTES_MAX + 4_096;
    assert!(client.burst < bound, "{} bytes at once", client.burst);
}

#[test]
fn one_range_and_many_come_as_asked() {
    let node = Node::new();
    let contents: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
    node.write("models/big.bin", &contents);
    let path = "/files/models/big.bin";
    for _ in 0..2 {
        let one = node.ask(&get_with(path, "Range: bytes=500-999"));
        assert_eq!((one.status, &one.body[..]), (206, &contents[500..1000]));
        assert_eq!(one.field("Content-Range"), Some("bytes 500-999/100000"));
        let last = node.ask(&get_with(path, "Range: bytes=-1"));
        assert_eq!(last.body, &contents[99_999..]);
    }
    let many = node.ask(&get_with(path, "Range: bytes=50000-50009,0-9,-5"));
    assert_eq!(many.status, 206);
    let kind = many.field("Content-Type").unwrap();
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let mut expected = Vec::new();
    for (range, bytes) in [
        ("0-9", &contents[..10]),
        ("50000-50009", &contents[50_000..50_010]),
        ("99995-99999", &contents[99_995..]),
    ] {
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\n\
             Content-Range: bytes {range}/100000\r\n\r\n"
        );
        expected.extend(head.into_bytes());
        expected.extend(bytes);
    }
    expected.extend(format!("\r\n--{boundary}--\r\n").into_bytes());
    assert_eq!(many.body, expected);
    let none = node.ask(&get_with(path, "Range: bytes=100000-"));
    assert_eq!(
        (none.status, none.field("Content-Range")),
        (416, Some("bytes */100000"))
    );
    let odd = node.ask(&get_with(path, "Range: bytes=9-1"));
    assert_eq!((odd.status, odd.body.len()), (200, 100_000));
    let head = format!("HEAD {path} HTTP/1.1\r\nRange: bytes=0-1\r\n{HOST}");
    assert_eq!(node.ask(&head).status, 200);
}

#[test]
fn conditions_are_honoured() {
    let node = node();
    let path = "/files/models/a.txt";
    let first = node.ask(&get(path));
    let (tag, date) = (
        first.field("ETag").unwrap().to_owned(),
        first.field("Last-Modified").unwrap().to_owned(),
    );
    let status = |fields: &str| node.ask(&get_with(path, fields)).status;
    assert_eq!(status(&format!("If-None-Match: {tag}")), 304);
    assert_eq!(status(&format!("If-None-Match: W/{tag}")), 304);
    assert_eq!(status("If-None-Match: \"x\""), 200);
    assert_eq!(status(&format!("If-Modified-Since: {date}")), 304);
    assert_eq!(status(&format!("If-Match: {tag}")), 200);
    assert_eq!(status("If-Match: \"x\""), 412);
    assert_eq!(
        status("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT"),
        412
    );
    assert_eq!(status(&format!("Range: bytes=0-1\r\nIf-Range: {tag}")), 206);
    assert_eq!(status("Range: bytes=0-1\r\nIf-Range: \"x\""), 200);
    let reply = node.ask(&get_with(path, &format!("If-None-Match: {tag}")));
    assert_eq!(reply.field("ETag"), Some(&tag[..]));
}

/// The memory of paths must never serve what a path led to before.
#[test]
fn a_file_that_was_renamed_over_is_seen_at_once() {
    let node = node();
    std::fs::create_dir(node.path("models/d")).unwrap();
    node.write("models/d/x", b"old");
    let mut client = node.client();
    assert_eq!(client.ask(&get("/files/models/d/x")).text(), "old");
    node.write("models/d/new", b"fresh");
    std::fs::rename(node.path("models/d/new"), node.path("models/d/x")).unwrap();
    assert_eq!(client.ask(&get("/files/models/d/x")).text(), "fresh");
    std::fs::rename(node.path("models/d"), node.path("models/away")).unwrap();
    assert_eq!(client.ask(&get("/files/models/d/x")).status, 404);
    std::fs::create_dir(node.path("models/d")).unwrap();
    node.write("models/d/x", b"other");
    assert_eq!(client.ask(&get("/files/models/d/x")).text(), "other");
    std::fs::write(node.path("models/d/x"), b"grown in place").unwrap();
    assert_eq!(
        client.ask(&get("/files/models/d/x")).text(),
        "grown in place"
    );
    std::fs::remove_file(node.path("models/d/x")).unwrap();
    assert_eq!(client.ask(&get("/files/models/d/x")).status, 404);
}

/// Threats F1 and F3: no path and no link leads out of a volume, hot or cold.
#[test]
fn nothing_outside_a_volume_is_reached() {
    let node = node();
    node.write("secret", b"s");
    std::os::unix::fs::symlink("../secret", node.path("models/link")).unwrap();
    std::os::unix::fs::symlink("..", node.path("models/up")).unwrap();
    for (path, status) in [
        ("/files/models/link", 403),
        ("/files/models/up/secret", 403),
        ("/files/models/up", 403),
        ("/files/models/up/", 404),
    ] {
        assert_eq!(node.ask(&get(path)).status, status, "{path}");
    }
    for path in [
        "/files/models/../secret",
        "/files/models/%2e%2e/secret",
        "/files/models/..%2fsecret",
        "/files/models/a%00",
        "/files/../secret",
        "/files/models/%zz",
    ] {
        assert_eq!(node.ask(&get(path)).status, 400, "{path}");
    }
    let mut client = node.client();
    assert_eq!(client.ask(&get("/files/models/a.txt")).status, 200);
    std::fs::remove_file(node.path("models/a.txt")).unwrap();
    std::os::unix::fs::symlink("../secret", node.path("models/a.txt")).unwrap();
    assert_eq!(client.ask(&get("/files/models/a.txt")).status, 403);
}

/// Threat N14: what one may not reach looks like what is not there.
#[test]
fn a_hidden_volume_looks_like_a_missing_one() {
    let node = node();
    node.write("hidden/x", b"x");
    let undated = |path: &str| {
        let reply = node.ask(&get(path));
        let fields = reply.head.lines().filter(|line| !line.starts_with("Date"));
        (fields.collect::<Vec<_>>().join("\n"), reply.body.clone())
    };
    assert_eq!(undated("/files/hidden/x"), undated("/files/nowhere/x"));
    assert_eq!(undated("/files/hidden/"), undated("/files/nowhere/"));
    let put = |volume: &str| {
        node.ask(&format!(
            "PUT /files/{volume}/x HTTP/1.1\r\nContent-Length: 0\r\n{HOST}"
        ))
    };
    assert_eq!((put("hidden").status, put("nowhere").status), (404, 404));
    let mut insider = node.client_from("10.9.0.1:5");
    assert_eq!(insider.ask(&get("/files/hidden/x")).text(), "x");
    assert_eq!(insider.ask(&get("/files/models/a.txt")).status, 404);
}

#[test]
fn a_volume_with_tokens_needs_one_at_every_request() {
    let node = node();
    node.write("locked/x", b"x");
    let bare = node.ask(&get("/files/locked/x"));
    assert_eq!(bare.status, 401);
    // Clients that know Basic only wait to be asked for it.
    let text = &bare.head;
    for scheme in ["Bearer realm=\"towline\"", "Basic realm=\"towline\""] {
        let line = format!("WWW-Authenticate: {scheme}");
        assert!(text.contains(&line), "{text}");
    }
    let with = |token: &str| get_with("/files/locked/x", &format!("Authorization: {token}"));
    let mut client = node.client();
    assert_eq!(client.ask(&with("Bearer reader")).status, 200);
    assert_eq!(client.ask(&get("/files/locked/x")).status, 401, "hot too");
    assert_eq!(client.ask(&with("Bearer readers")).status, 401);
    assert_eq!(client.ask(&with("Basic reader")).status, 401);
    let put = |token: &str| {
        let request = format!(
            "PUT /files/locked/y HTTP/1.1\r\nAuthorization: Bearer {token}\r\n\
             Content-Length: 1\r\n{HOST}y"
        );
        node.ask(&request).status
    };
    assert_eq!(
        (put("reader"), put("writer"), put("nobody")),
        (403, 201, 401)
    );
}

#[test]
fn what_is_not_a_file_path_goes_to_the_control_plane_unread() {
    let node = node();
    let mut client = node.client();
    let request = "GET /v1/status HTTP/1.1\r\nHost: n\r\n\r\nrest";
    let sent = client.send(format!("{}{request}", get("/files/models/a.txt")).as_bytes());
    assert_eq!(split(&sent, false).0.status, 200);
    assert_eq!(
        (client.wants(), client.unread()),
        (Wants::HandOff, request.as_bytes())
    );
}

#[test]
fn a_broken_head_is_answered_and_the_connection_closed() {
    let node = node();
    for (request, status) in [
        ("GET /files/ HTTP/1.1\r\n\r\n", "400"),
        ("GET /files/ HTTP/1.1\nHost: n\n\n", "400"),
        ("GET /files/ HTTP/2.0\r\nHost: n\r\n\r\n", "505"),
        ("nonsense\r\n\r\n", "400"),
    ] {
        let mut client = node.client();
        let sent = client.send(request.as_bytes());
        assert_eq!(&sent[9..12], status.as_bytes(), "{request}");
        assert_eq!(client.wants(), Wants::Close);
    }
    let mut client = node.client();
    assert_eq!(client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), b"");
    assert_eq!(client.wants(), Wants::Close);
}

#[test]
fn a_get_with_a_body_that_cannot_be_skipped_closes() {
    let node = node();
    for body in ["Transfer-Encoding: chunked", "Content-Length: 9999999999"] {
        let mut client = node.client();
        let reply = client.ask(&get_with("/files/models/a.txt", body));
        assert_eq!(
            (reply.status, reply.field("Connection")),
            (200, Some("close"))
        );
        assert_eq!(client.wants(), Wants::Close);
    }
}

#[test]
fn an_old_client_gets_its_connection_closed_unless_it_asks() {
    let node = node();
    let mut client = node.client();
    let reply = client.ask("GET /files/models/a.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(reply.field("Connection"), Some("keep-alive"));
    let reply = client.ask("GET /files/models/a.txt HTTP/1.0\r\n\r\n");
    assert_eq!(reply.field("Connection"), Some("close"));
    assert_eq!(client.wants(), Wants::Close);
}

#[test]
fn what_a_browser_would_run_is_sandboxed() {
    let node = node();
    node.write("models/x.html", b"<script>1</script>");
    let reply = node.ask(&get("/files/models/x.html"));
    assert_eq!(reply.field("Content-Security-Policy"), Some("sandbox"));
    assert_eq!(reply.field("X-Content-Type-Options"), Some("nosniff"));
    let plain = node.ask(&get("/files/models/a.txt"));
    assert_eq!(plain.field("Content-Security-Policy"), None);
}

#[test]
fn requests_are_counted() {
    let node = node();
    node.ask(&get("/files/models/a.txt"));
    node.ask(&get("/files/models/a.txt"));
    node.ask(&get("/files/models/none"));
    let value = |name: &str, labels: &str| {
        let all = node.server.metrics();
        let found = all
            .iter()
            .find(|(metric, _)| metric.name == name && metric.labels == labels);
        found.unwrap().1
    };
    assert_eq!(value("towline_http_requests_total", "class=\"2xx\""), 2);
    assert_eq!(value("towline_http_requests_total", "class=\"4xx\""), 1);
    assert_eq!(value("towline_http_sent_bytes_total", ""), 20);
    assert_eq!(value("towline_http_hot_requests_total", ""), 1);
}

/// One file has as many spellings as its name has bytes to encode or not.
#[test]
fn the_spellings_of_a_path_cannot_fill_the_memory() {
    use crate::worker::{PATH_KEY_BYTES_MAX, PATHS_MAX};

    let node = Node::new();
    node.write("models/abcdefghijklm", b"x");
    let mut client = node.client();
    let spelled = |number: usize| -> String {
        let letters = ('a'..='m').enumerate();
        let spell = |(bit, letter): (usize, char)| match number >> bit & 1 {
            0 => letter.to_string(),
            _ => format!("%{:02x}", letter as u32),
        };
        letters.map(spell).collect()
    };
    for number in 0..PATHS_MAX {
        client.ask(&get(&format!("/files/models/{}", spelled(number))));
    }
    // The oldest half goes, never all: a path in use is remembered however many others pass by.
    assert_eq!(node.factory.paths_known(), PATHS_MAX);
    let in_use = format!("models/{}", spelled(PATHS_MAX - 1));
    for number in PATHS_MAX..2 * PATHS_MAX {
        client.ask(&get(&format!("/files/models/{}", spelled(number))));
        assert!(node.factory.is_path_known(&in_use));
        client.ask(&get(&format!("/files/{in_use}")));
    }
    let known = node.factory.paths_known();
    assert!((PATHS_MAX / 2..=PATHS_MAX).contains(&known), "{known}");

    let long = "n".repeat(200);
    std::fs::create_dir(node.path(&format!("models/{long}"))).unwrap();
    node.write(&format!("models/{long}/{long}"), b"x");
    // "models/" and two names, of which so many bytes are written in three.
    let plain = "models/".len() + 401;
    let encoded = |bytes: usize| {
        let spent = (bytes - plain) / 2;
        let rest = "%6e".repeat(spent - 200) + &"n".repeat(400 - spent);
        format!("models/{}/{rest}", "%6e".repeat(200))
    };
    let longest = PATH_KEY_BYTES_MAX - PATH_KEY_BYTES_MAX % 2;
    for (path, is_known) in [(encoded(longest + 2), false), (encoded(longest), true)] {
        assert_eq!(client.ask(&get(&format!("/files/{path}"))).status, 200);
        assert_eq!(node.factory.is_path_known(&path), is_known);
    }
}
