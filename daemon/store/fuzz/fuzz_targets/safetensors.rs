//! Safetensors headers: no panic, and whatever a header says the plan covers the file, in steps
//! within the limit, with tensors in chunks that exist.

#![no_main]

use std::convert::Infallible;

use libfuzzer_sys::fuzz_target;
use towline_store::cut::{Plan, plan, safetensors};
use towline_store::table::CHUNK_BYTES_MAX;

fuzz_target!(|data: &[u8]| {
    let Some((sizes, json)) = data.split_first_chunk::<4>() else {
        return;
    };
    let data_bytes = u64::from(u32::from_le_bytes(*sizes)) % (64 << 20);
    if let Ok(tensors) = safetensors::parse(json, data_bytes) {
        let mut end = 0;
        for tensor in &tensors {
            assert!(tensor.start == end && tensor.end >= tensor.start);
            end = tensor.end;
        }
        assert_eq!(end, data_bytes);
    }
    // The whole file: the header is true about its own length, and zeros follow.
    let mut file = (json.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(json);
    let size = file.len() as u64 + data_bytes;
    let read = |offset: u64, buffer: &mut [u8]| {
        assert!(
            offset + buffer.len() as u64 <= size,
            "read outside the file"
        );
        for (at, byte) in (offset..).zip(buffer.iter_mut()) {
            *byte = file.get(at as usize).copied().unwrap_or(0);
        }
        Ok::<(), Infallible>(())
    };
    let Ok(Plan::Spans { spans, tensors, .. }) = plan(size, read) else {
        return;
    };
    assert!(
        spans
            .iter()
            .all(|span| (1..=CHUNK_BYTES_MAX).contains(&span.length))
    );
    assert_eq!(
        spans.iter().map(|span| u64::from(span.length)).sum::<u64>(),
        size
    );
    for tensor in &tensors {
        assert!((tensor.first_chunk + tensor.chunks) as usize <= spans.len());
    }
});
