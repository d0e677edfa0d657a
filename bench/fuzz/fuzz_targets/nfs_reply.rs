//! Replies of ONC RPC, MOUNT, the port mapper and NFSv3: any octets from a server.
//!
//! Never a panic, nothing larger than what came; a record is told when its last octet is there and
//! never before, and the same whatever follows.

#![no_main]

use libfuzzer_sys::fuzz_target;
use towline_bench::rpc::Reader;
use towline_bench::source::nfs::reply::{self, HANDLE_BYTES_MAX, record};

/// Longest record that is accepted here.
const RECORD_BYTES_MAX: usize = 4096;

fuzz_target!(|data: &[u8]| {
    if let Ok(Some(range)) = record(data, RECORD_BYTES_MAX) {
        assert!(range.end <= data.len() && range.len() <= RECORD_BYTES_MAX);
        let (own, _) = data.split_at(range.end);
        assert_eq!(record(own, RECORD_BYTES_MAX).ok().flatten(), Some(range));
        assert_eq!(record(&own[..own.len() - 1], RECORD_BYTES_MAX).ok(), Some(None));
        let mut reader = Reader(&own[4..]);
        if reader.accepted().is_ok() {
            all(reader.0);
        }
    }
    all(data);
});

/// What each parser makes of the same octets.
fn all(data: &[u8]) {
    let reader = || Reader(data);
    if let Ok(Some(port)) = reply::port(&mut reader()) {
        assert_ne!(port, 0);
    }
    if let Ok(Ok(handle)) = reply::mount(&mut reader()) {
        assert!(handle.len() <= HANDLE_BYTES_MAX);
    }
    if let Ok(Ok((handle, _))) = reply::lookup(&mut reader()) {
        assert!(handle.len() <= HANDLE_BYTES_MAX);
    }
    let _ = reply::attributes(&mut reader());
    let _ = reply::read_bytes_max(&mut reader());
    if let Ok(Ok((bytes, _))) = reply::read(&mut reader()) {
        assert!(bytes.len() <= data.len());
    }
    if let Ok(Ok(page)) = reply::names(&mut reader(), 7) {
        // An entry without a name has 28 octets.
        assert!(page.entries.len() <= data.len() / 28);
    }
}
