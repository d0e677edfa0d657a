//! Sets of attributes on the wire: `bitmap4` (RFC 8881 section 3.3.7).
//!
//! Invariant: a set holds the attributes 0 to 95, which is every one that any minor version up to
//! 2 knows; what lies above is noted and cannot be asked for. Not promised: that an attribute in
//! a set is supported.

use crate::xdr::{Malformed, Reader, Writer};

/// Words of a set: attributes 0 to 95 (RFC 8276 section 8.2 has the highest of minor version 2,
/// 82; RFC 9754 section 3 adds 86).
const WORDS: usize = 3;

/// Longest `bitmap4` taken off the wire, in words: what clients ask for of the future is bounded.
const WIRE_WORDS_MAX: u32 = 16;

/// A set of attributes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Bits {
    words: [u32; WORDS],
    /// Whether the client named attributes above the last word.
    pub has_more: bool,
}

impl Bits {
    /// The set of these numbers.
    #[must_use]
    pub const fn of(numbers: &[u32]) -> Self {
        let mut words = [0; WORDS];
        let mut at = 0;
        // A const fn has no iterators.
        while at < numbers.len() {
            #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler only")]
            let number = numbers[at];
            #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler only")]
            {
                words[(number / 32) as usize] |= 1 << (number % 32);
            }
            at += 1;
        }
        Self {
            words,
            has_more: false,
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`Malformed`] if it is cut or longer than any client makes it.
    pub fn parse(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let count = from.u32()?;
        if count > WIRE_WORDS_MAX {
            return Err(Malformed);
        }
        let mut bits = Self::default();
        for place in 0..count {
            let word = from.u32()?;
            match bits.words.get_mut(place as usize) {
                Some(here) => *here = word,
                None => bits.has_more |= word != 0,
            }
        }
        Ok(bits)
    }

    /// Writes it without empty words at its end.
    pub fn write(&self, out: &mut Writer<'_>) {
        let [_, second, third] = self.words;
        let count = match (second, third) {
            (0, 0) => usize::from(self.words != [0; WORDS]),
            (_, 0) => 2,
            (_, _) => 3,
        };
        out.u32(count as u32);
        for word in self.words.iter().take(count) {
            out.u32(*word);
        }
    }

    /// Whether `number` is in it.
    #[must_use]
    pub fn has(&self, number: u32) -> bool {
        let word = self.words.get((number / 32) as usize);
        word.is_some_and(|word| word & (1 << (number % 32)) != 0)
    }

    /// Puts `number` in.
    pub fn set(&mut self, number: u32) {
        if let Some(word) = self.words.get_mut((number / 32) as usize) {
            *word |= 1 << (number % 32);
        }
    }

    /// What is in both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let mut words = self.words;
        for (to, from) in words.iter_mut().zip(other.words) {
            *to &= from;
        }
        Self {
            words,
            has_more: false,
        }
    }

    /// What is in either.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        let mut words = self.words;
        for (to, from) in words.iter_mut().zip(other.words) {
            *to |= from;
        }
        Self {
            words,
            has_more: self.has_more || other.has_more,
        }
    }

    /// What is in this one and not in the other.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut words = self.words;
        for (to, from) in words.iter_mut().zip(other.words) {
            *to &= !from;
        }
        Self {
            words,
            has_more: self.has_more,
        }
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words == [0; WORDS] && !self.has_more
    }

    /// The numbers in it, the lowest first.
    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        let words = self.words;
        (0_u32..).zip(words).flat_map(|(place, mut word)| {
            std::iter::from_fn(move || {
                let bit = word.trailing_zeros();
                word &= word.wrapping_sub(1);
                (bit < 32).then_some(place * 32 + bit)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_read_as_it_was_written() {
        for numbers in [&[][..], &[0], &[31, 32], &[1, 33, 82], &[86]] {
            let bits = Bits::of(numbers);
            let mut wire = Vec::new();
            bits.write(&mut Writer::new(&mut wire));
            assert_eq!(Bits::parse(&mut Reader::new(&wire)), Ok(bits));
            assert!(bits.numbers().eq(numbers.iter().copied()));
        }
    }

    #[test]
    fn what_lies_above_is_noted_and_bounded() {
        let wire = |words: u32, last: u32| {
            let mut wire = words.to_be_bytes().to_vec();
            (1..words).for_each(|_| wire.extend_from_slice(&[0; 4]));
            wire.extend_from_slice(&last.to_be_bytes());
            wire
        };
        let parse = |wire: &[u8]| Bits::parse(&mut Reader::new(wire));
        assert!(!parse(&wire(4, 0)).unwrap().has_more);
        assert!(parse(&wire(4, 1)).unwrap().has_more);
        assert!(parse(&wire(WIRE_WORDS_MAX, 1)).is_ok());
        assert!(parse(&wire(WIRE_WORDS_MAX + 1, 1)).is_err());
    }
}
