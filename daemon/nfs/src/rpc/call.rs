//! The head of an RPC call (RFC 5531 section 9).
//!
//! Invariant: a [`Call`] is of RPC version 2 and its credential and verifier keep their bound;
//! everything in it lies in the message that it was read from. Not promised: that its program
//! exists or that its arguments are well-formed.

use super::auth::{AUTH_BYTES_MAX, AuthFault, Credential};
use crate::xdr::{Malformed, Reader};

/// The RPC version that we speak (RFC 5531 section 8.1).
pub const RPC_VERSION: u32 = 2;

/// Marks a call among messages (RFC 5531 section 9, `msg_type`).
pub const CALL: u32 = 0;

/// One call.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Chosen by the client; the reply repeats it.
    pub xid: u32,
    /// Program.
    pub program: u32,
    /// Its version.
    pub version: u32,
    /// Procedure number within program and version.
    pub procedure: u32,
    flavor: u32,
    credential: &'a [u8],
    /// Stands before the arguments.
    pub arguments: Reader<'a>,
}

/// Why a message is not a call that can be carried out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CallFault {
    /// It is no call at all: there is nothing to answer, close the connection.
    NotCall,
    /// Another RPC version: answer RPC_MISMATCH.
    Version {
        /// The call's.
        xid: u32,
    },
    /// Credential or verifier are malformed: answer AUTH_ERROR.
    Auth {
        /// The call's.
        xid: u32,
        /// What to answer.
        fault: AuthFault,
    },
    /// It ends before its arguments: answer GARBAGE_ARGS.
    Garbage {
        /// The call's.
        xid: u32,
    },
}

impl<'a> Call<'a> {
    /// Reads the head of a call.
    ///
    /// # Errors
    /// [`CallFault`] says what to answer.
    pub fn parse(message: &'a [u8]) -> Result<Self, CallFault> {
        let mut reader = Reader::new(message);
        let (Ok(xid), Ok(CALL)) = (reader.u32(), reader.u32()) else {
            return Err(CallFault::NotCall);
        };
        let garbage = |Malformed| CallFault::Garbage { xid };
        if reader.u32().map_err(garbage)? != RPC_VERSION {
            return Err(CallFault::Version { xid });
        }
        let [program, version, procedure] = [
            reader.u32().map_err(garbage)?,
            reader.u32().map_err(garbage)?,
            reader.u32().map_err(garbage)?,
        ];
        let flavor = reader.u32().map_err(garbage)?;
        let auth = |fault| move |Malformed| CallFault::Auth { xid, fault };
        let credential = reader
            .opaque(AUTH_BYTES_MAX)
            .map_err(auth(AuthFault::BadCredential))?;
        let _verifier_flavor = reader.u32().map_err(garbage)?;
        reader
            .opaque(AUTH_BYTES_MAX)
            .map_err(auth(AuthFault::BadVerifier))?;
        Ok(Self {
            xid,
            program,
            version,
            procedure,
            flavor,
            credential,
            arguments: reader,
        })
    }

    /// The caller's claim.
    ///
    /// # Errors
    /// [`AuthFault`] for the reply.
    pub fn credential(&self) -> Result<Credential, AuthFault> {
        Credential::parse(self.flavor, self.credential)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xdr::Writer;

    fn message(version: u32, credential_bytes: usize) -> Vec<u8> {
        let mut message = Vec::new();
        let mut writer = Writer::new(&mut message);
        writer.words([0x1234, CALL, version, 100_003, 3, 1, 0]);
        writer.opaque(&vec![0; credential_bytes]);
        writer.words([0, 0, 0xabcd]);
        message
    }

    #[test]
    fn a_call_is_read_up_to_its_arguments() {
        let message = message(RPC_VERSION, 0);
        let mut call = Call::parse(&message).unwrap();
        let numbers = (call.xid, call.program, call.version, call.procedure);
        assert_eq!(numbers, (0x1234, 100_003, 3, 1));
        assert_eq!(call.credential(), Ok(Credential::Nobody));
        assert_eq!(call.arguments.u32(), Ok(0xabcd));
    }

    #[test]
    fn every_cut_of_a_call_is_told_apart() {
        let message = message(RPC_VERSION, 0);
        let head = message.len() - 4;
        for cut in 0..head {
            let fault = Call::parse(&message[..cut]).unwrap_err();
            match cut {
                0..8 => assert_eq!(fault, CallFault::NotCall),
                _ => assert!(
                    matches!(
                        fault,
                        CallFault::Garbage { xid: 0x1234 } | CallFault::Auth { xid: 0x1234, .. }
                    ),
                    "cut {cut}"
                ),
            }
        }
    }

    /// Threat N4: the longest credential passes, one byte more is refused before it is looked at.
    #[test]
    fn a_credential_has_at_most_400_bytes() {
        assert!(Call::parse(&message(RPC_VERSION, AUTH_BYTES_MAX)).is_ok());
        let fault = CallFault::Auth {
            xid: 0x1234,
            fault: AuthFault::BadCredential,
        };
        let longer = message(RPC_VERSION, AUTH_BYTES_MAX + 1);
        assert_eq!(Call::parse(&longer).unwrap_err(), fault);
    }

    #[test]
    fn another_rpc_version_and_a_reply_are_refused() {
        let fault = CallFault::Version { xid: 0x1234 };
        assert_eq!(Call::parse(&message(3, 0)).unwrap_err(), fault);
        let reply = [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0];
        assert_eq!(Call::parse(&reply).unwrap_err(), CallFault::NotCall);
    }
}
