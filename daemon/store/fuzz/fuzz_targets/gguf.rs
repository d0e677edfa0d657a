//! GGUF headers: no panic, nothing allocated from a count before its bytes are seen, and whatever
//! is accepted covers the data in order.
//!
//! Input: four bytes of data length, then the file from behind its magic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use towline_store::cut::gguf::{Fault, MAGIC, parse};

fuzz_target!(|data: &[u8]| {
    let Some((sizes, rest)) = data.split_first_chunk::<4>() else {
        return;
    };
    let more = u64::from(u32::from_le_bytes(*sizes));
    let file = [MAGIC.as_slice(), rest].concat();
    let size = file.len() as u64 + more;
    let whole = parse(&file, size);
    if let Ok(header) = &whole {
        let mut end = 0;
        for tensor in &header.tensors {
            assert!(tensor.start == end && tensor.end > tensor.start);
            end = tensor.end;
        }
        assert_eq!(header.data_start + end, size);
    }
    // With fewer bytes at hand it is either still too short, or the same answer.
    let part = file.get(..file.len() / 2).unwrap_or(&[]);
    let early = parse(part, size);
    assert!(
        early == Err(Fault::Short) || early == whole,
        "{early:?} {whole:?}"
    );
});
