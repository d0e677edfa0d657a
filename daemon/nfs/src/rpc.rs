//! ONC RPC version 2 (RFC 5531): record marking, the head of a call, who the caller claims to
//! be, and the head of a reply.
//!
//! Nothing here knows a program. Not promised: authentication; AUTH_SYS is the caller's own claim.

pub mod auth;
pub mod call;
pub mod record;
pub mod reply;

pub use auth::{AuthFault, Credential};
pub use call::{Call, CallFault};
pub use record::{PeerFault, RecordDecoder};
