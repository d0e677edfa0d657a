//! The operations of a COMPOUND, any bytes, in both minor versions.
//!
//! Asserts that nothing panics, that reading never goes behind what is there, and that no cut of an
//! operation's arguments is taken for the whole. Not asserted: what the operations do; the tests
//! of the crate and the kernel's client show that.

#![no_main]

use libfuzzer_sys::fuzz_target;
use towline_nfs::v4::Operation;
use towline_nfs::v4::args::Args;
use towline_nfs::xdr::Reader;

/// Most operations of one input: a session has at most 64.
const OPERATIONS_MAX: usize = 64;

fuzz_target!(|input: (bool, &[u8])| {
    let (is_newer, bytes) = input;
    let minor = if is_newer { 2 } else { 1 };
    let mut reader = Reader::new(bytes);
    for _ in 0..OPERATIONS_MAX {
        let Ok(number) = reader.u32() else {
            return;
        };
        let Some(operation) = Operation::from_number(number, minor) else {
            return;
        };
        assert_eq!(operation as u32, number);
        let before = reader.rest();
        if Args::parse(operation, &mut reader).is_err() {
            return;
        }
        let taken = before.len() - reader.rest().len();
        for cut in 0..taken.min(512) {
            let mut cut = Reader::new(&before[..cut]);
            assert!(Args::parse(operation, &mut cut).is_err());
        }
    }
});
