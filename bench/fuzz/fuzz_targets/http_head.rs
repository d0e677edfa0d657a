//! The head of an HTTP response: any octets from a server.
//!
//! Never a panic; a head is told when its last octet is there and never before, the same whatever
//! follows; what `httparse`, which we did not write, reads of the same octets agrees.

#![no_main]

use libfuzzer_sys::fuzz_target;
use towline_bench::source::http::head::{HEAD_BYTES_MAX, parse};

fuzz_target!(|data: &[u8]| {
    let Ok(Some(head)) = parse(data) else {
        return;
    };
    assert!(head.head_bytes <= data.len().min(HEAD_BYTES_MAX));
    let (own, _) = data.split_at(head.head_bytes);
    assert_eq!(parse(own), Ok(Some(head.clone())), "without what follows");
    for cut in [own.len() - 1, own.len() / 2] {
        assert_eq!(parse(&own[..cut]), Ok(None), "cut at {cut}");
    }
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut other = httparse::Response::new(&mut headers);
    if let Ok(httparse::Status::Complete(length)) = other.parse(own)
        && length == head.head_bytes
    {
        assert_eq!(other.code, Some(head.status));
        let lengths = other.headers.iter().filter(|header| is_length(header));
        for length in lengths.filter_map(|header| std::str::from_utf8(header.value).ok()) {
            assert_eq!(length.trim().parse(), Ok(head.body_bytes));
        }
    }
});

fn is_length(header: &httparse::Header<'_>) -> bool {
    header.name.eq_ignore_ascii_case("content-length")
}
