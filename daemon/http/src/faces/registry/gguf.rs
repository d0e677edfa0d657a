//! What the head of a GGUF file says of its model: architecture, size, quantisation.
//!
//! Format: ggml's `docs/gguf.md`, versions 2 and 3, little-endian. The keys that matter stand in
//! front of the large ones (vocabularies), so the first [`HEAD_BYTES_MAX`] bytes are looked at and
//! no more. Invariant: a length is checked against the bytes at hand before it is used, and what
//! comes out is short printable ASCII. Not promised: that what follows is a sound file.

use towline_store::FileId;

/// How much of a file is read, in bytes: `general.*` takes some kilobytes, model cards included.
pub const HEAD_BYTES_MAX: usize = 256 << 10;

/// Most keys that are looked at; real files have some dozens.
const KEYS_MAX: u64 = 1024;

/// Longest text that is taken over, in bytes.
const TEXT_BYTES_MAX: usize = 64;

/// Names of `general.file_type` (llama.cpp's `llama_ftype`), by number.
const FILE_TYPES: [(u32, &str); 33] = [
    (0, "F32"),
    (1, "F16"),
    (2, "Q4_0"),
    (3, "Q4_1"),
    (7, "Q8_0"),
    (8, "Q5_0"),
    (9, "Q5_1"),
    (10, "Q2_K"),
    (11, "Q3_K_S"),
    (12, "Q3_K_M"),
    (13, "Q3_K_L"),
    (14, "Q4_K_S"),
    (15, "Q4_K_M"),
    (16, "Q5_K_S"),
    (17, "Q5_K_M"),
    (18, "Q6_K"),
    (19, "IQ2_XXS"),
    (20, "IQ2_XS"),
    (21, "Q2_K_S"),
    (22, "IQ3_XS"),
    (23, "IQ3_XXS"),
    (24, "IQ1_S"),
    (25, "IQ4_NL"),
    (26, "IQ3_S"),
    (27, "IQ3_M"),
    (28, "IQ2_S"),
    (29, "IQ2_M"),
    (30, "IQ4_XS"),
    (31, "IQ1_M"),
    (32, "BF16"),
    (36, "TQ1_0"),
    (37, "TQ2_0"),
    (38, "MXFP4"),
];

/// What the heads of files say, by file.
pub type Heads = Vec<(FileId, Option<About>)>;

/// What is known of a model.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct About {
    /// `general.architecture`, such as `llama`.
    pub architecture: Option<String>,
    /// `general.size_label`, such as `8B`, or made from `general.parameter_count`.
    pub size: Option<String>,
    /// The quantisation, such as `Q4_K_M`.
    pub file_type: Option<&'static str>,
}

/// Reads the first bytes of a file; `None`: it is no GGUF file.
#[must_use]
pub fn about(bytes: &[u8]) -> Option<About> {
    let mut reader = Reader(bytes);
    let magic = reader.take(4)?;
    if magic != b"GGUF" || !matches!(reader.u32()?, 2 | 3) {
        return None;
    }
    let (_tensors, keys) = (reader.u64()?, reader.u64()?);
    let mut about = About::default();
    for _ in 0..keys.min(KEYS_MAX) {
        // The bytes at hand end, or something odd follows: what was found stands.
        if reader.pair(&mut about).is_none() {
            break;
        }
    }
    Some(about)
}

/// Numbers and texts off the front of some bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u64()?).ok()?;
        self.take(length)
    }

    fn pair(&mut self, about: &mut About) -> Option<()> {
        let key = self.text()?;
        let kind = self.u32()?;
        match (key, kind) {
            (b"general.architecture", 8) => about.architecture = plain(self.text()?),
            (b"general.size_label", 8) => about.size = plain(self.text()?),
            (b"general.parameter_count", 10) => {
                let count = self.u64()?;
                about.size.get_or_insert_with(|| short(count));
            }
            (b"general.file_type", 4) => {
                let number = self.u32()?;
                let known = FILE_TYPES.iter().find(|(own, _)| *own == number);
                about.file_type = known.map(|(_, name)| *name);
            }
            (_, kind) => self.skip(kind)?,
        }
        Some(())
    }

    /// Leaves out a value: numbers, texts, and arrays of these.
    fn skip(&mut self, kind: u32) -> Option<()> {
        match width(kind) {
            Some(width) => drop(self.take(width)?),
            None if kind == 8 => drop(self.text()?),
            None if kind == 9 => {
                let (inner, count) = (self.u32()?, self.u64()?);
                match width(inner) {
                    Some(width) => {
                        let bytes = usize::try_from(count).ok()?.checked_mul(width)?;
                        self.take(bytes)?;
                    }
                    // Each text takes eight bytes at least, so this ends with the bytes.
                    None if inner == 8 => {
                        for _ in 0..count {
                            self.text()?;
                        }
                    }
                    None => return None,
                }
            }
            None => return None,
        }
        Some(())
    }
}

/// Bytes of a number or truth value.
fn width(kind: u32) -> Option<usize> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

fn plain(text: &[u8]) -> Option<String> {
    let is_good = (1..=TEXT_BYTES_MAX).contains(&text.len())
        && text
            .iter()
            .all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(byte));
    is_good.then(|| String::from_utf8_lossy(text).into_owned())
}

/// `8.0B`, `560M`: how ollama writes the number of parameters.
fn short(count: u64) -> String {
    let tenths = |unit: u64| format!("{}.{}", count / unit, count % unit * 10 / unit);
    match count {
        1_000_000_000.. => format!("{}B", tenths(1_000_000_000)),
        1_000_000.. => format!("{}M", tenths(1_000_000)),
        1_000.. => format!("{}K", count / 1_000),
        _ => count.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Vec<u8> {
        let mut bytes = (value.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(value.as_bytes());
        bytes
    }

    fn file() -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(3_u32.to_le_bytes());
        bytes.extend(1_u64.to_le_bytes());
        bytes.extend(5_u64.to_le_bytes());
        for (key, kind, value) in [
            ("general.architecture", 8_u32, text("llama")),
            ("general.tags", 9, {
                let list = [8_u32.to_le_bytes().to_vec(), 2_u64.to_le_bytes().to_vec()];
                [list.concat(), text("a"), text("b")].concat()
            }),
            ("general.odd", 7, vec![1]),
            (
                "general.parameter_count",
                10,
                8_030_261_248_u64.to_le_bytes().to_vec(),
            ),
            ("general.file_type", 4, 15_u32.to_le_bytes().to_vec()),
        ] {
            bytes.extend(text(key));
            bytes.extend(kind.to_le_bytes());
            bytes.extend(value);
        }
        bytes
    }

    #[test]
    fn what_matters_is_found_between_other_keys() {
        let about = about(&file()).unwrap();
        assert_eq!(about.architecture.as_deref(), Some("llama"));
        assert_eq!(about.size.as_deref(), Some("8.0B"));
        assert_eq!(about.file_type, Some("Q4_K_M"));
    }

    #[test]
    fn a_file_that_ends_anywhere_gives_what_was_read() {
        let whole = file();
        for end in 0..whole.len() {
            assert_eq!(about(&whole[..end]).is_some(), end >= 24, "{end}");
        }
        assert_eq!(about(b"GGUX\x03\0\0\0"), None);
        let mut endless = whole[..24].to_vec();
        endless.extend(u64::MAX.to_le_bytes());
        assert_eq!(about(&endless), Some(About::default()));
    }
}
