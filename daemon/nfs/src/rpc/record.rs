//! ONC RPC record marking: cuts a TCP byte stream into whole RPC messages.
//!
//! RFC 5531 section 11 lets a peer announce fragments of 2^31-1 bytes and any number of
//! them, so a reader that trusts the header lets four hostile bytes reserve 2 GiB. This
//! decoder stores only bytes that have arrived, judges every announcement before it waits
//! for it, and judges first, middle and last fragments in one place, so that no fast path
//! can skip the limit: [`RecordDecoder::peek`] shows a message that lies in the input in one
//! piece without copying it, and asks the same judge. It performs no I/O.
//!
//! Invariant: between two calls it holds at most [`MESSAGE_BYTES_MAX`] bytes, in a buffer
//! with room for no more. Not promised: that a message is valid RPC; `rpc::call` decides.

use std::mem;

/// Largest RPC message accepted, in bytes: the 1 MiB of WRITE data that our FSINFO reply
/// offers, plus one page for what surrounds it. RFC 5531 and RFC 1813 need at most 928
/// bytes there: 24 of fixed header, 2 x 408 of credential and verifier, 88 of arguments.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024 + 4096;

/// Most fragments accepted in one message; stops floods of empty fragments. Kernel clients
/// send one or a few, but the pynfs conformance client cuts 1 MiB into 513 pieces of 2 KiB
/// (chimera-nas/chimera pull request 540) and must not be refused.
pub const FRAGMENTS_MAX: u32 = 1024;

/// Bytes of a fragment header (RFC 5531 section 11).
pub const HEADER_BYTES: usize = 4;

/// Marks the last fragment of a message (RFC 5531 section 11).
pub const LAST_FRAGMENT_BIT: u32 = 1 << 31;

// A full message plus the largest announcement must not overflow usize on 32-bit targets.
const _: () = assert!(MESSAGE_BYTES_MAX < LAST_FRAGMENT_BIT as usize);
// The largest message must pass even when it is cut into 2 KiB pieces.
const _: () = assert!(MESSAGE_BYTES_MAX / 2048 < FRAGMENTS_MAX as usize);

/// What the peer did wrong. No later byte can be trusted: close the connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PeerFault {
    /// The announced size of a message passes [`MESSAGE_BYTES_MAX`].
    #[error("message of {bytes} bytes exceeds the limit of {MESSAGE_BYTES_MAX}")]
    MessageTooLong {
        /// Bytes already held plus bytes announced.
        bytes: usize,
    },
    /// A message was cut into more than [`FRAGMENTS_MAX`] pieces.
    #[error("message has more than {FRAGMENTS_MAX} fragments")]
    TooManyFragments,
}

/// What stands at the front of the input, without taking it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Front<'a> {
    /// Not even a fragment header.
    Nothing,
    /// A message in one fragment of `length` bytes, of which these have arrived.
    Single {
        /// Bytes of the message.
        length: usize,
        /// Its first bytes; all of it if there are `length` of them.
        arrived: &'a [u8],
    },
    /// A piece of a message in several fragments: only [`RecordDecoder::decode`] can tell.
    Piece,
}

/// Decoder for one connection. Dropping it at any time is safe.
#[derive(Debug, Default)]
pub struct RecordDecoder {
    message: Vec<u8>,
    fragment: Option<Fragment>,
    fragments: u32,
}

/// A fragment whose header was accepted and whose payload is still arriving.
#[derive(Clone, Copy, Debug)]
struct Fragment {
    bytes_left: usize,
    last: bool,
}

impl RecordDecoder {
    /// Looks at the front of `input` and takes nothing.
    ///
    /// # Errors
    /// [`PeerFault`]: close the connection.
    pub fn peek<'a>(&self, input: &'a [u8]) -> Result<Front<'a>, PeerFault> {
        if self.is_inside() {
            return Ok(Front::Piece);
        }
        let Some((header, rest)) = input.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(Front::Nothing);
        };
        let fragment = self.judge(u32::from_be_bytes(*header))?;
        let length = fragment.bytes_left;
        let (arrived, _) = rest.split_at(rest.len().min(length));
        Ok(match fragment.last {
            true => Front::Single { length, arrived },
            false => Front::Piece,
        })
    }

    /// Takes bytes off the front of `input` until a message is complete or input runs out.
    ///
    /// `None` means: keep what is left of `input` (fewer than 4 bytes), append what arrives
    /// next, and call again.
    ///
    /// # Errors
    /// [`PeerFault`]: close the connection.
    pub fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Vec<u8>>, PeerFault> {
        while let Some(fragment) = self.open_fragment(input)? {
            let (arrived, rest) = input.split_at(input.len().min(fragment.bytes_left));
            self.store(arrived);
            *input = rest;
            let bytes_left = fragment.bytes_left - arrived.len();
            if bytes_left > 0 {
                let last = fragment.last;
                self.fragment = Some(Fragment { bytes_left, last });
                return Ok(None);
            }
            self.fragment = None;
            if fragment.last {
                self.fragments = 0;
                return Ok(Some(mem::take(&mut self.message)));
            }
        }
        Ok(None)
    }

    /// Payload bytes of the unfinished message, to charge to the receive budget.
    #[must_use]
    pub fn bytes_held(&self) -> usize {
        self.message.capacity()
    }

    /// Whether a message was begun and is not complete.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        self.fragments > 0
    }

    /// The fragment under way, or the next one if its header has arrived.
    fn open_fragment(&mut self, input: &mut &[u8]) -> Result<Option<Fragment>, PeerFault> {
        if self.fragment.is_none()
            && let Some((header, rest)) = input.split_first_chunk::<HEADER_BYTES>()
        {
            self.fragment = Some(self.judge(u32::from_be_bytes(*header))?);
            self.fragments += 1;
            *input = rest;
        }
        Ok(self.fragment)
    }

    /// Judges one announcement. Every fragment passes here before any byte of it is awaited.
    fn judge(&self, header: u32) -> Result<Fragment, PeerFault> {
        let last = header & LAST_FRAGMENT_BIT != 0;
        let bytes_left = (header & !LAST_FRAGMENT_BIT) as usize;
        let bytes = self.message.len() + bytes_left;
        if bytes > MESSAGE_BYTES_MAX {
            return Err(PeerFault::MessageTooLong { bytes });
        }
        if self.fragments == FRAGMENTS_MAX {
            return Err(PeerFault::TooManyFragments);
        }
        Ok(Fragment { bytes_left, last })
    }

    /// Appends bytes that have arrived: memory grows with them and never with a claim.
    fn store(&mut self, arrived: &[u8]) {
        let bytes_needed = self.message.len() + arrived.len();
        assert!(bytes_needed <= MESSAGE_BYTES_MAX, "judge() bounds it");
        if bytes_needed > self.message.capacity() {
            // Doubling keeps the copying linear; the cap keeps the last doubling in bounds.
            let capacity = bytes_needed.next_power_of_two().min(MESSAGE_BYTES_MAX);
            self.message.reserve_exact(capacity - self.message.len());
        }
        self.message.extend_from_slice(arrived);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_GIB_CLAIM: [u8; HEADER_BYTES] = [0xff; HEADER_BYTES];

    /// TCP may cut the stream anywhere, so every cut must give the same messages.
    #[test]
    fn every_cut_decodes_the_same() {
        let stream = [
            0, 0, 0, 2, b'a', b'b', 0x80, 0, 0, 1, b'c', 0x80, 0, 0, 0, 0x80, 0, 0, 1, b'd',
        ];
        for cut in 0..=stream.len() {
            let mut decoder = RecordDecoder::default();
            let mut messages = Vec::new();
            let mut consumed = 0;
            for arrived in [cut, stream.len()] {
                let mut unread = &stream[consumed..arrived];
                while let Some(message) = decoder.decode(&mut unread).unwrap() {
                    messages.push(message);
                }
                consumed = arrived - unread.len();
            }
            let wanted = [b"abc".to_vec(), vec![], b"d".to_vec()];
            assert_eq!(messages, wanted, "cut at {cut}");
            assert!(!decoder.is_inside(), "cut at {cut}");
        }
    }

    /// Threats N1 and N2: both ways into the decoder refuse the claim.
    #[test]
    fn a_two_gib_claim_is_refused_before_any_allocation() {
        let mut decoder = RecordDecoder::default();
        let bytes = (1 << 31) - 1;
        let fault = PeerFault::MessageTooLong { bytes };
        assert_eq!(decoder.peek(&TWO_GIB_CLAIM), Err(fault));
        assert_eq!(decoder.decode(&mut &TWO_GIB_CLAIM[..]), Err(fault));
        assert_eq!(decoder.message.capacity(), 0);
    }

    /// The limit covers the sum: a short first fragment must not open a second door.
    #[test]
    fn a_claim_is_added_to_what_is_held() {
        let stream = [&[0, 0, 0, 1, b'a'], &TWO_GIB_CLAIM[..]].concat();
        let result = RecordDecoder::default().decode(&mut &stream[..]);
        let bytes = 1 << 31;
        assert_eq!(result, Err(PeerFault::MessageTooLong { bytes }));
    }

    #[test]
    fn the_largest_message_passes_and_its_buffer_is_no_larger() {
        let bytes = u32::try_from(MESSAGE_BYTES_MAX).unwrap();
        let header = (bytes | LAST_FRAGMENT_BIT).to_be_bytes();
        let payload = vec![7; MESSAGE_BYTES_MAX];
        let mut decoder = RecordDecoder::default();
        let mut message = decoder.decode(&mut &header[..]).unwrap();
        for mut page in payload.chunks(4096) {
            assert_eq!(message, None);
            message = decoder.decode(&mut page).unwrap();
        }
        let message = message.unwrap();
        assert!(message == payload);
        assert_eq!(message.capacity(), MESSAGE_BYTES_MAX);
        let longer = ((bytes + 1) | LAST_FRAGMENT_BIT).to_be_bytes();
        assert!(RecordDecoder::default().peek(&longer).is_err());
    }

    #[test]
    fn endless_empty_fragments_are_refused() {
        let flood = [0; HEADER_BYTES * (FRAGMENTS_MAX as usize + 1)];
        let result = RecordDecoder::default().decode(&mut &flood[..]);
        assert_eq!(result, Err(PeerFault::TooManyFragments));
    }

    /// Threat N3: 1 MiB in pieces of 2 KiB, as pynfs sends it.
    #[test]
    fn a_message_in_513_pieces_passes() {
        let mut stream = Vec::new();
        for piece in 0..513_u32 {
            let last = if piece == 512 { LAST_FRAGMENT_BIT } else { 0 };
            stream.extend_from_slice(&(2048 | last).to_be_bytes());
            stream.extend_from_slice(&[1; 2048]);
        }
        let message = RecordDecoder::default().decode(&mut &stream[..]).unwrap();
        assert_eq!(message.unwrap().len(), 513 * 2048);
    }

    #[test]
    fn a_message_in_one_piece_is_shown_where_it_lies() {
        let decoder = RecordDecoder::default();
        assert_eq!(decoder.peek(&[0x80, 0, 0]), Ok(Front::Nothing));
        let partial = Front::Single {
            length: 3,
            arrived: b"ab",
        };
        assert_eq!(decoder.peek(&[0x80, 0, 0, 3, b'a', b'b']), Ok(partial));
        let whole = Front::Single {
            length: 1,
            arrived: b"a",
        };
        assert_eq!(decoder.peek(&[0x80, 0, 0, 1, b'a', b'b']), Ok(whole));
        assert_eq!(decoder.peek(&[0, 0, 0, 1, b'a']), Ok(Front::Piece));
    }
}
