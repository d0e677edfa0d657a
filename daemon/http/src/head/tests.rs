//! Tests of the request head: every refusal, both sides of every limit, and every cut.
//!
//! Not covered here: what is done with an accepted head; the serving tests do that.

use super::*;

fn whole(text: &[u8]) -> Result<Option<(Head<'_>, usize)>, HeadFault> {
    parse(text, &mut 0)
}

fn accepted(text: &str) -> Head<'_> {
    match whole(text.as_bytes()) {
        Ok(Some((head, length))) => {
            assert_eq!(length, text.len(), "{text}");
            head
        }
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn a_request_is_understood() {
    let head = accepted(
        "GET /files/models/a%20b?after=x HTTP/1.1\r\nHost: node:8420\r\nRANGE:  bytes=0-1 \r\n\
         If-None-Match: \"x\"\r\nAccept: application/json;q=1\r\n\r\n",
    );
    assert_eq!(head.method, Method::Get);
    assert_eq!(head.path, b"/files/models/a%20b");
    assert_eq!(head.query, b"after=x");
    assert_eq!(head.range, Some(&b"bytes=0-1"[..]));
    assert_eq!(head.if_none_match, Some(&b"\"x\""[..]));
    assert!(head.keep_alive && head.wants_json && !head.is_http_1_0);
    assert_eq!(head.body, Body::Absent);
}

#[test]
fn every_cut_gives_the_same_answer() {
    let good = &b"\r\nPUT http://n/files/p/x HTTP/1.1\r\nHost: n\r\nContent-Length: 5\r\n\r\n"[..];
    let bad = &b"GET /x HTTP/1.1\r\nHost: n\r\n folded\r\n\r\n"[..];
    for text in [good, bad] {
        let expected = format!("{:?}", whole(text));
        for cut in 0..text.len() {
            let mut scanned = 0;
            assert!(
                matches!(parse(&text[..cut], &mut scanned), Ok(None)),
                "cut at {cut}"
            );
            assert_eq!(
                format!("{:?}", parse(text, &mut scanned)),
                expected,
                "cut at {cut}"
            );
        }
    }
}

#[test]
fn a_body_can_be_announced_in_one_way_only() {
    let with = |fields: &str| format!("PUT /f HTTP/1.1\r\nHost: n\r\n{fields}\r\n\r\n");
    let body = |fields: &str| whole(with(fields).as_bytes()).map(|found| found.unwrap().0.body);
    assert_eq!(body("Content-Length: 05"), Ok(Body::Length(5)));
    assert_eq!(
        body("Content-Length: 9223372036854775807"),
        Ok(Body::Length(i64::MAX as u64))
    );
    assert_eq!(body("Transfer-Encoding: Chunked"), Ok(Body::Chunked));
    for (fields, fault) in [
        ("Content-Length: +5", HeadFault::BadLength),
        ("Content-Length: -5", HeadFault::BadLength),
        ("Content-Length:", HeadFault::BadLength),
        ("Content-Length: 5, 5", HeadFault::BadLength),
        ("Content-Length: 0x5", HeadFault::BadLength),
        ("Content-Length: 9223372036854775808", HeadFault::BadLength),
        (
            "Content-Length: 99999999999999999999999",
            HeadFault::BadLength,
        ),
        (
            "Content-Length: 5\r\nContent-Length: 5",
            HeadFault::Duplicate,
        ),
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            HeadFault::TwoFramings,
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            HeadFault::BadCoding,
        ),
        ("Transfer-Encoding: gzip, chunked", HeadFault::BadCoding),
        ("Transfer-Encoding: identity", HeadFault::BadCoding),
        ("Transfer-Encoding: chunked, identity", HeadFault::BadCoding),
    ] {
        assert_eq!(body(fields), Err(fault), "{fields}");
    }
    let old = b"PUT /f HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(whole(old).err(), Some(HeadFault::BadCoding));
}

#[test]
fn what_two_parsers_could_read_differently_is_refused() {
    for (text, fault) in [
        (&b"GET /x HTTP/1.1\nHost: n\n\n"[..], HeadFault::BadLine),
        (b"GET /x HTTP/1.1\r\nHost: n\n\r\n", HeadFault::BadLine),
        (
            b"GET /x HTTP/1.1\r\nHost: n\rX: y\r\n\r\n",
            HeadFault::BadLine,
        ),
        (
            b"GET /x HTTP/1.1\r\nHost: n\r\nX: a\0b\r\n\r\n",
            HeadFault::BadLine,
        ),
        (
            b"GET /x HTTP/1.1\r\nHost: n\r\n folded\r\n\r\n",
            HeadFault::Folded,
        ),
        (b"GET /x HTTP/1.1\r\n Host: n\r\n\r\n", HeadFault::Folded),
        (
            b"GET /x HTTP/1.1\r\nHost : n\r\n\r\n",
            HeadFault::BadFieldName,
        ),
        (
            b"GET /x HTTP/1.1\r\nHost: n\r\n: n\r\n\r\n",
            HeadFault::BadFieldName,
        ),
        (
            b"GET /x HTTP/1.1\r\nHost: n\r\nno colon\r\n\r\n",
            HeadFault::BadFieldName,
        ),
        (b"GET /x HTTP/1.1\r\n\r\n", HeadFault::BadHost),
        (
            b"GET /x HTTP/1.1\r\nHost: n\r\nHost: m\r\n\r\n",
            HeadFault::Duplicate,
        ),
        (
            b"GET /x HTTP/1.1\r\nHost: u@n/x\r\n\r\n",
            HeadFault::BadHost,
        ),
        (b"GET  /x HTTP/1.1\r\nHost: n\r\n\r\n", HeadFault::NotHttp),
        (b"GET /x HTTP/1.1 \r\nHost: n\r\n\r\n", HeadFault::NotHttp),
        (
            b"GET /x HTTP/1.1\r\nHost: n\r\nExpect: magic\r\n\r\n",
            HeadFault::Expectation,
        ),
        (b"GET x HTTP/1.1\r\nHost: n\r\n\r\n", HeadFault::BadTarget),
        (
            b"GET /x#y HTTP/1.1\r\nHost: n\r\n\r\n",
            HeadFault::BadTarget,
        ),
        (b"GET * HTTP/1.1\r\nHost: n\r\n\r\n", HeadFault::BadTarget),
        (
            b"CONNECT n:80 HTTP/1.1\r\nHost: n\r\n\r\n",
            HeadFault::BadTarget,
        ),
        (
            b"GET http:///x HTTP/1.1\r\nHost: n\r\n\r\n",
            HeadFault::BadTarget,
        ),
        (b"GET /x HTTP/2.0\r\nHost: n\r\n\r\n", HeadFault::Version),
        (b"GET /x HTTP/1.2\r\nHost: n\r\n\r\n", HeadFault::Version),
        (b"GET /x http/1.1\r\nHost: n\r\n\r\n", HeadFault::NotHttp),
        (b"GET /x\r\n\r\n", HeadFault::NotHttp),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HeadFault::Http2),
        (b"\x16\x03\x01\x02\x00", HeadFault::NotHttp),
        (b" GET /x HTTP/1.1\r\n\r\n", HeadFault::NotHttp),
    ] {
        assert_eq!(whole(text).err(), Some(fault), "{}", text.escape_ascii());
    }
}

#[test]
fn the_forms_of_a_target_are_understood() {
    let path = |target: &str| {
        let text = format!("OPTIONS {target} HTTP/1.1\r\nHost: n\r\n\r\n");
        let head = accepted(&text);
        (
            String::from_utf8_lossy(head.path).into_owned(),
            String::from_utf8_lossy(head.query).into_owned(),
        )
    };
    let pair = |path: &str, query: &str| (path.to_owned(), query.to_owned());
    assert_eq!(path("/a?b?c"), pair("/a", "b?c"));
    assert_eq!(path("HTTP://host:1/a/b"), pair("/a/b", ""));
    assert_eq!(path("https://host"), pair("/", ""));
    assert_eq!(path("http://host?q"), pair("/", "q"));
    assert_eq!(path("*"), pair("*", ""));
}

#[test]
fn a_connection_stays_open_as_the_version_says() {
    let keeps = |version: &str, field: &str| {
        let text = format!("GET / {version}\r\nHost: n\r\nX: y\r\n{field}\r\n");
        accepted(&text).keep_alive
    };
    assert!(keeps("HTTP/1.1", ""));
    assert!(!keeps("HTTP/1.1", "Connection: foo, Close\r\n"));
    assert!(!keeps("HTTP/1.0", ""));
    assert!(keeps("HTTP/1.0", "Connection: Keep-Alive\r\n"));
}

#[test]
fn the_longest_head_passes_and_one_more_byte_does_not() {
    let of_length = |length: usize| {
        let frame = "GET / HTTP/1.1\r\nHost: n\r\nX: \r\n\r\n".len();
        let filler = "y".repeat(length - frame);
        format!("GET / HTTP/1.1\r\nHost: n\r\nX: {filler}\r\n\r\n")
    };
    accepted(&of_length(HEAD_BYTES_MAX));
    let long = of_length(HEAD_BYTES_MAX + 1);
    assert_eq!(whole(long.as_bytes()).err(), Some(HeadFault::TooLong));
    assert_eq!(
        whole(&long.as_bytes()[..HEAD_BYTES_MAX]).err(),
        Some(HeadFault::TooLong)
    );
    assert!(matches!(
        whole(&long.as_bytes()[..HEAD_BYTES_MAX - 1]),
        Ok(None)
    ));
    let blank = "\r\n".repeat(HEAD_BYTES_MAX);
    assert!(whole(blank.as_bytes()).is_err());
}

#[test]
fn a_hundred_fields_pass_and_one_more_does_not() {
    let with = |count: usize| {
        let fields = "X: y\r\n".repeat(count - 1);
        format!("GET / HTTP/1.1\r\nHost: n\r\n{fields}\r\n")
    };
    accepted(&with(FIELDS_MAX));
    let many = with(FIELDS_MAX + 1);
    assert_eq!(whole(many.as_bytes()).err(), Some(HeadFault::TooManyFields));
}
