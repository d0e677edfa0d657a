//! The error numbers of an error frame (`i_errno`, iperf_api.h of esnet/iperf).
//!
//! Invariant: a number that is not named here is kept as it came, so that nothing a newer version
//! says is lost. The words are ours.

use std::fmt;

/// Why a server refused or broke off, as it travels in the error frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Code(pub i32);

impl Code {
    /// `time` out of range.
    pub const DURATION: Self = Self(5);
    /// `parallel` out of range.
    pub const STREAMS: Self = Self(6);
    /// `len` out of range for TCP.
    pub const BLOCK_SIZE: Self = Self(7);
    /// `window` out of range.
    pub const BUFFER_SIZE: Self = Self(8);
    /// `MSS` out of range.
    pub const SEGMENT_SIZE: Self = Self(10);
    /// `omit` out of range.
    pub const OMIT: Self = Self(12);
    /// `burst` out of range.
    pub const BURST: Self = Self(15);
    /// `len` out of range for UDP.
    pub const DATAGRAM_SIZE: Self = Self(20);
    /// `TOS` out of range.
    pub const TOS: Self = Self(21);
    /// The rate of all streams is above what the server allows.
    pub const TOTAL_RATE: Self = Self(27);
    /// The duration is above what the server allows.
    pub const SERVER_DURATION: Self = Self(37);
    /// A message that nobody expects.
    pub const MESSAGE: Self = Self(110);
    /// The parameters cannot be read.
    pub const PARAMETERS: Self = Self(114);
    /// The results cannot be read.
    pub const RESULTS: Self = Self(117);
    /// The client was told to stop.
    pub const CLIENT_TERMINATE: Self = Self(119);
    /// The server was told to stop.
    pub const SERVER_TERMINATE: Self = Self(120);
    /// The server is busy.
    pub const ACCESS_DENIED: Self = Self(121);
    /// The token cannot be checked, or is wrong.
    pub const AUTHENTICATION: Self = Self(142);
    /// No data came for too long.
    pub const NO_DATA: Self = Self(144);
    /// The test ran longer than the server waits.
    pub const SERVER_EXPIRED: Self = Self(160);
    /// A data stream could not be opened.
    pub const CREATE_STREAM: Self = Self(200);
    /// The results name a stream that does not exist.
    pub const STREAM_ID: Self = Self(208);

    fn words(self) -> Option<&'static str> {
        Some(match self {
            Self::DURATION => "the duration is out of range",
            Self::STREAMS => "the number of parallel streams is out of range (1 to 128)",
            Self::BLOCK_SIZE => "the block length is out of range (1 to 1 MiB)",
            Self::BUFFER_SIZE => "the socket buffer is out of range (to 512 MiB)",
            Self::SEGMENT_SIZE => "the segment size is out of range",
            Self::OMIT => "the omitted time is out of range (0 to 600 s)",
            Self::BURST => "the burst is out of range (1 to 1000)",
            Self::DATAGRAM_SIZE => "the datagram length is out of range (16 to 65507)",
            Self::TOS => "the type of service is out of range (0 to 255)",
            Self::TOTAL_RATE => "the rate of all streams is above the server's limit",
            Self::SERVER_DURATION => "the duration is above the server's limit",
            Self::MESSAGE => "a control message that nobody expects",
            Self::PARAMETERS => "the parameters cannot be read",
            Self::RESULTS => "the results cannot be read",
            Self::CLIENT_TERMINATE => "the client was told to stop",
            Self::SERVER_TERMINATE => "the server was told to stop",
            Self::ACCESS_DENIED => "the server is busy with another test",
            Self::AUTHENTICATION => {
                "it wants a user name and password, which towline does not send. Measure with \
                 'iperf3 -c HOST --username NAME --rsa-public-key-path FILE', or start the server \
                 without --authorized-users-path, or 'towline bench serve' there"
            }
            Self::NO_DATA => "no data came for too long",
            Self::SERVER_EXPIRED => "the test ran longer than the server waits",
            Self::CREATE_STREAM => "a data stream could not be opened",
            Self::STREAM_ID => "the results name a stream that does not exist",
            _ => return None,
        })
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.words() {
            Some(words) => write!(formatter, "{words} (error {})", self.0),
            None => write!(formatter, "error {}", self.0),
        }
    }
}
