//! The state bytes of the control connection.
//!
//! Invariant: only values that the C program knows exist here (iperf_api.h); everything else is a
//! broken peer. Each is one signed octet on the wire.

/// One state byte.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// From the server: zero the counters, start the clock.
    TestStart,
    /// From the server: senders may send.
    TestRunning,
    /// From the client: it is over, senders stop.
    TestEnd,
    /// From the server: send the parameters.
    ParamExchange,
    /// From the server: open the streams.
    CreateStreams,
    /// From the server: it was told to stop.
    ServerTerminate,
    /// From the client: it was told to stop.
    ClientTerminate,
    /// From the server: send your results, mine follow.
    ExchangeResults,
    /// From the server: both may show results.
    DisplayResults,
    /// From the client: the end, or "I give up" in any phase.
    IperfDone,
    /// From the server: busy, or not for you; nothing follows.
    AccessDenied,
    /// From the server: an error frame of two numbers follows.
    ServerError,
}

impl State {
    /// The octet on the wire.
    #[must_use]
    pub fn byte(self) -> u8 {
        match self {
            Self::TestStart => 1,
            Self::TestRunning => 2,
            Self::TestEnd => 4,
            Self::ParamExchange => 9,
            Self::CreateStreams => 10,
            Self::ServerTerminate => 11,
            Self::ClientTerminate => 12,
            Self::ExchangeResults => 13,
            Self::DisplayResults => 14,
            Self::IperfDone => 16,
            Self::AccessDenied => 0xff,
            Self::ServerError => 0xfe,
        }
    }

    /// The state of an octet; `None` for one that nobody sends.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::TestStart,
            2 => Self::TestRunning,
            4 => Self::TestEnd,
            9 => Self::ParamExchange,
            10 => Self::CreateStreams,
            11 => Self::ServerTerminate,
            12 => Self::ClientTerminate,
            13 => Self::ExchangeResults,
            14 => Self::DisplayResults,
            16 => Self::IperfDone,
            0xff => Self::AccessDenied,
            0xfe => Self::ServerError,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_octet_is_a_state_that_gives_it_back_or_none() {
        let known = (0..=255)
            .filter(|byte| State::from_byte(*byte).is_some_and(|state| state.byte() == *byte));
        assert_eq!(known.count(), 12);
        assert_eq!(State::from_byte(3), None);
    }
}
