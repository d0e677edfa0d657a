//! What a stranger may send to the port of S3: a query and an Authorization field.
//!
//! Whatever it is, a listing of nothing is well-formed and bounded, and no signature fits a key
//! that the fuzzer does not know. Input: the query, a newline, the value of the field.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::Arc;
use towline_http::{Keyring, Seen, head};
use towline_http::s3::{Key, list::Question, sign};

/// 2013-05-24T00:00:00Z.
const NOW: i64 = 1_369_353_600;

/// The catalog of an empty store.
fn nothing() -> Seen {
    let keyring = Arc::<Keyring>::default();
    Seen::new(Arc::default(), keyring.sight(None))
}

fuzz_target!(|data: &[u8]| {
    let cut = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (query, value) = data.split_at(cut);
    let value = value.get(1..).unwrap_or(&[]);
    if let Ok(question) = Question::parse(query) {
        let page = question.answer("models", &nothing());
        assert!(page.len() < 64 << 10 && page.ends_with("</ListBucketResult>"));
        assert!(!page.contains("<Contents>"));
    }
    let mut request = b"GET /models?".to_vec();
    request.extend_from_slice(query);
    request.extend_from_slice(b" HTTP/1.1\r\nHost: n\r\nx-amz-date: 20130524T000000Z\r\n");
    if !value.is_empty() {
        request.extend_from_slice(b"Authorization: ");
        request.extend_from_slice(value);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    if let Ok(Some((head, _))) = head::parse(&request, &mut 0) {
        let keys = [Key::new("AKID", "a secret that is nowhere in the input", Vec::new())];
        assert!(sign::verify(&keys, &head, NOW).is_err(), "forged");
    }
});
