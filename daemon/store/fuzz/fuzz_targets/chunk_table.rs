//! Chunk tables: no panic, no memory beyond what the bytes justify, and whatever is accepted
//! covers its file exactly and is the one encoding of what it says.

#![no_main]

use libfuzzer_sys::fuzz_target;
use towline_store::table::{CHUNK_BYTES_MAX, ChunkTable};

fuzz_target!(|data: &[u8]| {
    let Ok(table) = ChunkTable::decode(data) else {
        return;
    };
    assert_eq!(table.encode(), data, "two encodings of one table");
    let mut end = 0;
    for chunk in &table.chunks {
        assert_eq!(chunk.offset, end);
        assert!((1..=CHUNK_BYTES_MAX).contains(&chunk.length));
        end = chunk.end();
    }
    assert_eq!(end, table.size);
    for tensor in &table.tensors {
        let last = u64::from(tensor.first_chunk) + u64::from(tensor.chunks);
        assert!(last <= table.chunks.len() as u64);
    }
    let (middle, whole) = (table.size / 2, table.covering(0, u64::MAX));
    assert_eq!(whole, 0..table.chunks.len());
    for at in table.covering(middle, 1) {
        let chunk = table.chunks.get(at).expect("inside the table");
        assert!(chunk.offset <= middle && middle < chunk.end());
    }
});
