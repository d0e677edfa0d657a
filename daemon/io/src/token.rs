//! Tokens: which slot of a worker an event belongs to, and whether it is still the same one.
//!
//! Invariant: a token names a slot and the generation of its occupant, so an event for a closed
//! connection never reaches the one that took its slot. Not promised: uniqueness after 2^24
//! reuses of one slot while an event of the first is still under way.

/// A slot and the generation of its occupant.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Token {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

const GENERATION_MASK: u32 = (1 << 24) - 1;

impl Token {
    /// As 56 bits, so that eight bits are left for what kind of event it is.
    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.generation & GENERATION_MASK) << 32 | u64::from(self.index)
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self {
            index: bits as u32,
            generation: (bits >> 32) as u32 & GENERATION_MASK,
        }
    }
}

/// Slots that are reused, each with its generation.
pub(crate) struct Slots<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Slots<T> {
    /// The token that the next value gets.
    pub(crate) fn next(&self) -> Token {
        let index = self.free.last().copied();
        let index = index.unwrap_or(self.slots.len() as u32);
        let slot = self.slots.get(index as usize);
        Token {
            index,
            generation: slot.map_or(0, |(generation, _)| *generation),
        }
    }

    /// Puts a value made from its own token into a slot.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(Token) -> T) -> Token {
        let token = self.next();
        if self.free.pop().is_none() {
            self.slots.push((0, None));
        }
        let (_, value) = &mut self.slots[token.index as usize];
        *value = Some(make(token));
        token
    }

    pub(crate) fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        let (generation, value) = self.slots.get_mut(token.index as usize)?;
        if *generation == token.generation {
            value.as_mut()
        } else {
            None
        }
    }

    pub(crate) fn remove(&mut self, token: Token) -> Option<T> {
        let (generation, value) = self.slots.get_mut(token.index as usize)?;
        if *generation != token.generation {
            return None;
        }
        let value = value.take()?;
        *generation = (*generation + 1) & GENERATION_MASK;
        self.free.push(token.index);
        Some(value)
    }

    /// Takes the value out for a while; [`Slots::restore`] puts it back.
    pub(crate) fn lend(&mut self, token: Token) -> Option<T> {
        let (generation, value) = self.slots.get_mut(token.index as usize)?;
        if *generation == token.generation {
            value.take()
        } else {
            None
        }
    }

    /// Puts back what [`Slots::lend`] took out.
    pub(crate) fn restore(&mut self, token: Token, value: T) {
        if let Some((generation, slot)) = self.slots.get_mut(token.index as usize) {
            assert_eq!(
                *generation, token.generation,
                "a lent slot keeps its generation"
            );
            *slot = Some(value);
        }
    }

    /// Whether the token's value still exists, lent or not.
    pub(crate) fn holds(&self, token: Token) -> bool {
        let slot = self.slots.get(token.index as usize);
        slot.is_some_and(|(generation, _)| *generation == token.generation)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Every occupied slot's token.
    pub(crate) fn tokens(&self) -> Vec<Token> {
        let occupied = |(index, slot): (usize, &(u32, Option<T>))| {
            slot.1.as_ref().map(|_| Token {
                index: index as u32,
                generation: slot.0,
            })
        };
        self.slots.iter().enumerate().filter_map(occupied).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_token_finds_nothing() {
        let mut slots = Slots::default();
        let first = slots.insert_with(|_| 'a');
        assert_eq!(Token::from_bits(first.to_bits()), first);
        assert_eq!(slots.remove(first), Some('a'));
        let next = slots.next();
        let second = slots.insert_with(|_| 'b');
        assert_eq!(second, next);
        assert_eq!(second.index, first.index);
        assert_eq!(slots.get_mut(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get_mut(second), Some(&mut 'b'));
        assert_eq!(slots.len(), 1);
    }
}
