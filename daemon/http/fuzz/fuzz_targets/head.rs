//! Request heads: no panic, no read past the bound, the same answer however the stream is cut,
//! and never more lenient than a second parser (httparse).
//!
//! Being stricter is the point (threat H2), so a head that only httparse accepts is no finding;
//! one that only we accept is.

#![no_main]

use libfuzzer_sys::fuzz_target;
use towline_http::chunked::{Chunks, Next};
use towline_http::head::{Body, FIELDS_MAX, HEAD_BYTES_MAX, Head, HeadFault, parse};
use towline_http::path::Place;

fuzz_target!(|data: &[u8]| {
    let whole = parse(data, &mut 0);
    cut_anywhere(data, &whole);
    if let Ok(Some((head, length))) = &whole {
        assert!(*length <= HEAD_BYTES_MAX && *length <= data.len());
        compare(data.get(..*length).unwrap_or(&[]), head);
        follow(head, data.get(*length..).unwrap_or(&[]));
    }
    if whole.as_ref().is_ok_and(Option::is_none) {
        assert!(data.len() < HEAD_BYTES_MAX, "waits past the bound");
    }
});

type Parsed<'a> = Result<Option<(Head<'a>, usize)>, HeadFault>;

/// The same bytes in two pieces give the same answer, at a cut that the bytes choose.
fn cut_anywhere(data: &[u8], whole: &Parsed<'_>) {
    let sum = data.iter().fold(0usize, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(usize::from(*byte))
    });
    for cut in [sum % (data.len() + 1), data.len().saturating_sub(1)] {
        let mut scanned = 0;
        let first = parse(data.get(..cut).unwrap_or(&[]), &mut scanned);
        match first {
            Ok(None) => {
                let second = parse(data, &mut scanned);
                assert_eq!(format!("{second:?}"), format!("{whole:?}"), "cut at {cut}");
            }
            Ok(Some(_)) => assert_eq!(format!("{first:?}"), format!("{whole:?}"), "cut at {cut}"),
            Err(_) => assert!(whole.is_err(), "cut at {cut}"),
        }
    }
}

/// What we accept, httparse accepts, with the same method line.
fn compare(text: &[u8], head: &Head<'_>) {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut other = httparse::Request::new(&mut fields);
    match other.parse(text) {
        Ok(httparse::Status::Complete(length)) => assert_eq!(length, text.len()),
        Ok(httparse::Status::Partial) => panic!("accepted what is not complete"),
        // httparse wants printable ASCII or UTF-8 in a target; we take any byte above ASCII.
        Err(httparse::Error::Token) if !text.is_ascii() => return,
        Err(error) => panic!("accepted what httparse refuses: {error}"),
    }
    assert_eq!(other.version == Some(0), head.is_http_1_0);
    let lengths = other
        .headers
        .iter()
        .filter(|field| field.name.eq_ignore_ascii_case("content-length"))
        .count();
    match head.body {
        Body::Length(_) => assert_eq!(lengths, 1),
        Body::Absent | Body::Chunked => assert_eq!(lengths, 0, "both framings"),
    }
}

/// What stands behind an accepted head does not panic either.
fn follow(head: &Head<'_>, mut rest: &[u8]) {
    if let Some(below) = head.path.strip_prefix(b"/files/")
        && let Ok(place) = Place::parse(below)
    {
        for name in &place.names {
            let name = name.as_bytes();
            assert!(!name.is_empty() && name != b"." && name != b"..");
            assert!(!name.contains(&b'/') && !name.contains(&0));
        }
    }
    let mut chunks = Chunks::default();
    while head.body == Body::Chunked {
        match chunks.next(&mut rest) {
            Ok(Next::Chunk(length)) if length <= rest.len() as u64 => {
                rest = rest.get(length as usize..).unwrap_or(&[]);
            }
            Ok(_) | Err(_) => break,
        }
    }
}
