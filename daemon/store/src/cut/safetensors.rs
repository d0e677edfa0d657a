//! The header of a safetensors file, read for its cuts only.
//!
//! Format: a u64 length N, N bytes of JSON (`{name: {dtype, shape, data_offsets}}`, and
//! `__metadata__`), then the data. Invariant: tensors that come out are sorted, start at 0, touch
//! each other and end at the end of the data; nothing else is believed. Not promised: that
//! elements times shape is the length; nobody here interprets tensors.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Described, HEADER_BYTES_MAX};
use crate::table::{DIMENSIONS_MAX, TENSORS_MAX};

/// Why a header is not used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Fault {
    /// Not the JSON that was expected, or more tensors than a table lists.
    #[error("the safetensors header cannot be read")]
    Json,
    /// Offsets overlap, leave a hole, or leave the file.
    #[error("the tensors do not cover the data")]
    Offsets,
}

/// The length of the JSON if a file that begins with `start` looks like safetensors.
#[must_use]
pub fn header_bytes(start: &[u8], size: u64) -> Option<u64> {
    let (length, rest) = start.split_first_chunk::<8>()?;
    let length = u64::from_le_bytes(*length);
    let fits = (2..=HEADER_BYTES_MAX).contains(&length) && length <= size.checked_sub(8)?;
    (fits && rest.first() == Some(&b'{')).then_some(length)
}

/// Reads the JSON of a file with `data_bytes` of data.
///
/// # Errors
/// [`Fault`] says why the file is cut in a plainer way.
pub fn parse(json: &[u8], data_bytes: u64) -> Result<Vec<Described>, Fault> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let mut tensors = Vec::new();
    deserializer
        .deserialize_map(Tensors(&mut tensors))
        .map_err(|_| Fault::Json)?;
    // Trailing blanks pad the header; anything else is not a header.
    deserializer.end().map_err(|_| Fault::Json)?;
    tensors.sort_by(|one, other| {
        (one.start, one.end, &one.name).cmp(&(other.start, other.end, &other.name))
    });
    let mut expected = 0;
    for tensor in &tensors {
        if tensor.start != expected || tensor.end < tensor.start {
            return Err(Fault::Offsets);
        }
        expected = tensor.end;
    }
    if expected == data_bytes {
        Ok(tensors)
    } else {
        Err(Fault::Offsets)
    }
}

struct Tensors<'a>(&'a mut Vec<Described>);

impl<'de> Visitor<'de> for Tensors<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        use serde::de::Error;
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let Entry {
                dtype,
                shape,
                data_offsets: (start, end),
            } = map.next_value()?;
            let long = name.len() > usize::from(u16::MAX) || dtype.len() > usize::from(u8::MAX);
            if long || self.0.len() == TENSORS_MAX {
                return Err(A::Error::custom("more than a chunk table lists"));
            }
            self.0.push(Described {
                name: name.into(),
                kind: dtype.into(),
                shape: shape.0,
                start,
                end,
            });
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: String,
    shape: Shape,
    data_offsets: (u64, u64),
}

/// A list with a bound.
struct Shape(Vec<u64>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Numbers;
        impl<'de> DeserializeSeed<'de> for Numbers {
            type Value = Vec<u64>;
            fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Vec<u64>, D::Error> {
                from.deserialize_seq(self)
            }
        }
        impl<'de> Visitor<'de> for Numbers {
            type Value = Vec<u64>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {DIMENSIONS_MAX} numbers")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Vec<u64>, A::Error> {
                use serde::de::Error;
                let mut shape = Vec::new();
                while let Some(number) = numbers.next_element()? {
                    if shape.len() == DIMENSIONS_MAX {
                        return Err(A::Error::custom("too many dimensions"));
                    }
                    shape.push(number);
                }
                Ok(shape)
            }
        }
        Numbers.deserialize(deserializer).map(Self)
    }
}
