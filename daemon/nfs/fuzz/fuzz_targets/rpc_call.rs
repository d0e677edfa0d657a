//! The head of an RPC call: any bytes, and any prefix of a call that was read.
//!
//! Asserts that nothing panics, that what is lent lies in the message, and that no cut of a call
//! before its arguments is taken for a whole one. The types of `nfs3_types` are the oracle for
//! the fixed part.

#![no_main]

use libfuzzer_sys::fuzz_target;
use towline_nfs::rpc::{Call, CallFault};

fuzz_target!(|message: &[u8]| {
    let word = |index: usize| -> Option<u32> {
        let bytes = message.get(index * 4..index * 4 + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    };
    match Call::parse(message) {
        Ok(call) => {
            let read = [call.xid, call.program, call.version, call.procedure];
            let sent = [word(0), word(3), word(4), word(5)];
            assert_eq!(read.map(Some), sent);
            assert_eq!((word(1), word(2)), (Some(0), Some(2)));
            let _ = call.credential();
            let rest = call.arguments.rest();
            assert!(message.ends_with(rest));
            let head = message.len() - rest.len();
            assert!((40..=840).contains(&head));
            for cut in 0..head {
                assert!(Call::parse(&message[..cut]).is_err());
            }
            assert!(Call::parse(&message[..head]).is_ok());
        }
        Err(CallFault::NotCall) => assert!(word(1) != Some(0)),
        Err(CallFault::Version { xid }) => {
            assert_eq!(word(0), Some(xid));
            assert!(word(2) != Some(2));
        }
        Err(CallFault::Auth { xid, .. } | CallFault::Garbage { xid }) => {
            assert_eq!(word(0), Some(xid));
        }
    }
});
