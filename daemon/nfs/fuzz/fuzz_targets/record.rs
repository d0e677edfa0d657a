//! Record marking: any stream, cut anywhere, against a decoder that is too simple to be wrong.
//!
//! Asserts that every cut gives the same messages, that what is held never exceeds what has
//! arrived (rounded up by doubling) nor the limit, and that looking ahead agrees with decoding.

#![no_main]

use libfuzzer_sys::fuzz_target;
use towline_nfs::rpc::record::{FRAGMENTS_MAX, Front, MESSAGE_BYTES_MAX, RecordDecoder};

/// The messages of a stream, and whether it breaks a rule; memory is of no concern here.
fn naive(mut stream: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let (mut messages, mut message, mut fragments) = (Vec::new(), Vec::new(), 0);
    while let Some((head, rest)) = stream.split_first_chunk::<4>() {
        let head = u32::from_be_bytes(*head);
        let length = (head & 0x7fff_ffff) as usize;
        if message.len() + length > MESSAGE_BYTES_MAX || fragments == FRAGMENTS_MAX {
            return (messages, true);
        }
        fragments += 1;
        if rest.len() < length {
            break;
        }
        let (payload, rest) = rest.split_at(length);
        message.extend_from_slice(payload);
        if head & 0x8000_0000 != 0 {
            messages.push(std::mem::take(&mut message));
            fragments = 0;
        }
        stream = rest;
    }
    (messages, false)
}

fuzz_target!(|input: (Vec<u16>, &[u8])| {
    let (cuts, stream) = input;
    let (wanted, is_broken) = naive(stream);
    let mut decoder = RecordDecoder::default();
    let (mut messages, mut consumed, mut arrived) = (Vec::new(), 0, 0);
    let mut cuts = cuts.into_iter();
    while arrived < stream.len() {
        let step = cuts.next().map_or(stream.len(), |cut| usize::from(cut) + 1);
        arrived = (arrived + step).min(stream.len());
        let mut unread = &stream[consumed..arrived];
        loop {
            let front = decoder.peek(unread);
            let before = unread;
            match decoder.decode(&mut unread) {
                Ok(Some(message)) => {
                    if let Ok(Front::Single { length, arrived }) = front {
                        assert_eq!((length, arrived), (message.len(), &before[4..][..length]));
                    }
                    messages.push(message);
                }
                Ok(None) => break,
                Err(_) => {
                    assert!(is_broken && messages == wanted);
                    return;
                }
            }
        }
        consumed = arrived - unread.len();
        let held = decoder.bytes_held();
        assert!(held <= MESSAGE_BYTES_MAX && held <= 2 * arrived);
    }
    assert!(!is_broken && messages == wanted);
});
