//! What tells one state of a file from another, and the conditions that clients put on it.
//!
//! Governed by RFC 9110 sections 8.8 and 13. The entity tag is strong: it is made of which file
//! it is (file system, inode, birth), its size and its modification time to the nanosecond.
//! Invariant: two states that differ in one of these have different tags. Not promised: that a
//! file edited in place twice within one tick of the kernel's clock (4 ms at most), to the same
//! size, changes its tag; replace files by rename.

use std::borrow::Cow;

use towline_volume::Attributes;

use crate::date;
use crate::head::Head;

/// Longest entity tag in bytes, with its quotes: four numbers of up to 16 hexadecimal digits,
/// three dashes, two quotes.
const TAG_BYTES_MAX: usize = 69;

/// A strong entity tag, with its quotes (RFC 9110 section 8.8.3).
#[derive(Clone, Copy, Debug)]
pub struct EntityTag {
    bytes: [u8; TAG_BYTES_MAX],
    length: usize,
}

impl EntityTag {
    /// The tag of a file in this state.
    #[must_use]
    pub fn of(attributes: &Attributes) -> Self {
        let mut tag = Self {
            bytes: [0; TAG_BYTES_MAX],
            length: 0,
        };
        let modified = attributes.modified;
        tag.push(b'"');
        tag.push_hex(mix(attributes));
        tag.push(b'-');
        tag.push_hex(modified.seconds as u64);
        tag.push(b'-');
        tag.push_hex(u64::from(modified.nanoseconds));
        tag.push(b'-');
        tag.push_hex(attributes.size);
        tag.push(b'"');
        tag
    }

    /// A tag that somebody else has made, without its quotes: visible ASCII, at most 64 bytes, of
    /// which a longer one loses its end.
    #[must_use]
    pub fn quoted(text: &str) -> Self {
        let mut tag = Self {
            bytes: [0; TAG_BYTES_MAX],
            length: 0,
        };
        tag.push(b'"');
        for byte in text.bytes().filter(u8::is_ascii_graphic).take(64) {
            tag.push(byte);
        }
        tag.push(b'"');
        tag
    }

    /// The bytes, quotes included.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }

    fn push(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(self.length) {
            *slot = byte;
            self.length += 1;
        }
    }

    fn push_hex(&mut self, value: u64) {
        let digits = (64 - value.leading_zeros()).div_ceil(4).max(1);
        for place in (0..digits).rev() {
            let digit = (value >> (place * 4) & 15) as u8;
            self.push(if digit < 10 {
                b'0' + digit
            } else {
                b'a' + digit - 10
            });
        }
    }
}

/// Which file it is, in 64 bits. Each step is a bijection of its sum, so two files of one file
/// system with the same birth never meet.
fn mix(attributes: &Attributes) -> u64 {
    let step = |state: u64, value: u64| {
        let sum = (state ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        sum ^ (sum >> 29)
    };
    let born = attributes.born;
    let state = step(attributes.file_system, born.seconds as u64);
    let state = step(state, u64::from(born.nanoseconds));
    step(state, attributes.file_id)
}

/// The validators of a file at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Validator {
    /// The strong tag.
    pub tag: EntityTag,
    /// Last-Modified in seconds since 1970, never in the future (RFC 9110 section 8.8.2.1).
    pub modified: i64,
}

impl Validator {
    /// The validators of a file in this state, at the time `now` in seconds since 1970.
    #[must_use]
    pub fn of(attributes: &Attributes, now: i64) -> Self {
        Self {
            tag: EntityTag::of(attributes),
            modified: attributes.modified.seconds.min(now).max(0),
        }
    }
}

/// The four preconditions of a request.
#[derive(Clone, Debug, Default)]
pub struct Conditions<'a> {
    if_match: Option<Cow<'a, [u8]>>,
    if_none_match: Option<Cow<'a, [u8]>>,
    if_modified_since: Option<Cow<'a, [u8]>>,
    if_unmodified_since: Option<Cow<'a, [u8]>>,
}

/// What the preconditions say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Go on.
    Proceed,
    /// 304, for GET and HEAD.
    NotModified,
    /// 412.
    Failed,
}

impl<'a> Conditions<'a> {
    /// The conditions of a request.
    #[must_use]
    pub fn of(head: &Head<'a>) -> Self {
        Self {
            if_match: head.if_match.map(Cow::Borrowed),
            if_none_match: head.if_none_match.map(Cow::Borrowed),
            if_modified_since: head.if_modified_since.map(Cow::Borrowed),
            if_unmodified_since: head.if_unmodified_since.map(Cow::Borrowed),
        }
    }

    /// A copy that outlives the request's bytes.
    #[must_use]
    pub fn into_owned(self) -> Conditions<'static> {
        let own = |value: Option<Cow<'a, [u8]>>| value.map(|value| Cow::Owned(value.into_owned()));
        Conditions {
            if_match: own(self.if_match),
            if_none_match: own(self.if_none_match),
            if_modified_since: own(self.if_modified_since),
            if_unmodified_since: own(self.if_unmodified_since),
        }
    }

    /// Judges in the order of RFC 9110 section 13.2.2. `current`: the file as it is, `None` if
    /// there is none. `reads`: the method is GET or HEAD.
    #[must_use]
    pub fn judge(&self, current: Option<&Validator>, reads: bool, now: i64) -> Verdict {
        let date = |value: &Option<Cow<'a, [u8]>>| {
            value.as_deref().and_then(|value| date::parse(value, now))
        };
        if let Some(list) = &self.if_match {
            let holds = current.is_some_and(|current| lists(list, &current.tag, Compare::Strong));
            if !holds {
                return Verdict::Failed;
            }
        } else if let (Some(since), Some(current)) = (date(&self.if_unmodified_since), current)
            && current.modified > since
        {
            return Verdict::Failed;
        }
        if let Some(list) = &self.if_none_match {
            if current.is_some_and(|current| lists(list, &current.tag, Compare::Weak)) {
                return if reads {
                    Verdict::NotModified
                } else {
                    Verdict::Failed
                };
            }
        } else if reads
            && let (Some(since), Some(current)) = (date(&self.if_modified_since), current)
            && current.modified <= since
        {
            return Verdict::NotModified;
        }
        Verdict::Proceed
    }
}

/// Whether the ranges of a request are to be honoured: there is no If-Range, or it names the
/// present state by a strong tag or by its date (RFC 9110 section 13.1.5). A date is strong only
/// if the file had not changed for a second when the reply was dated (section 8.8.2.2).
#[must_use]
pub fn if_range_holds(value: Option<&[u8]>, current: &Validator, now: i64) -> bool {
    match value {
        None => true,
        Some(value) if value.starts_with(b"\"") => value == current.tag.as_bytes(),
        Some(value) => date::parse(value, now) == Some(current.modified) && current.modified < now,
    }
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Compare {
    /// Weak tags match nothing.
    Strong,
    /// `W/` is ignored.
    Weak,
}

/// Whether a list of tags, or `*`, names `tag`. What does not parse names nothing.
fn lists(list: &[u8], tag: &EntityTag, compare: Compare) -> bool {
    if list == b"*" {
        return true;
    }
    let mut rest = list;
    loop {
        rest = rest.trim_ascii_start();
        if let Some(behind) = rest.strip_prefix(b",") {
            rest = behind;
            continue;
        }
        let (is_weak, quoted) = match rest.strip_prefix(b"W/") {
            Some(behind) => (true, behind),
            None => (false, rest),
        };
        // The closing quote: an opaque tag has no escapes (RFC 9110 section 8.8.3).
        let inner = quoted.strip_prefix(b"\"").unwrap_or(&[]);
        let Some(end) = inner.iter().position(|byte| *byte == b'"') else {
            return false;
        };
        let (candidate, behind) = quoted.split_at_checked(end + 2).unwrap_or((quoted, &[]));
        if candidate == tag.as_bytes() && (compare == Compare::Weak || !is_weak) {
            return true;
        }
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use towline_volume::{FileKind, Timestamp};

    use super::*;

    const NOW: i64 = 1_780_000_000;

    fn attributes() -> Attributes {
        let at = |seconds| Timestamp {
            seconds,
            nanoseconds: 500,
        };
        Attributes {
            kind: FileKind::Regular,
            mode: 0o644,
            links: 1,
            uid: 0,
            gid: 0,
            size: 100,
            used: 4096,
            device: (0, 0),
            file_system: 3,
            file_id: 77,
            accessed: at(5),
            modified: at(784_111_777),
            changed: at(5),
            born: at(4),
            change: 0,
        }
    }

    fn judge(fields: &[(&str, &str)], exists: bool, reads: bool) -> Verdict {
        let get = |name: &str| {
            let found = fields.iter().find(|(field, _)| *field == name);
            found.map(|(_, value)| Cow::Borrowed(value.as_bytes()))
        };
        let conditions = Conditions {
            if_match: get("if-match"),
            if_none_match: get("if-none-match"),
            if_modified_since: get("if-modified-since"),
            if_unmodified_since: get("if-unmodified-since"),
        };
        let validator = Validator::of(&attributes(), NOW);
        conditions.judge(exists.then_some(&validator), reads, NOW)
    }

    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    #[test]
    fn a_tag_changes_with_file_size_and_time() {
        let tag = |change: fn(&mut Attributes)| {
            let mut state = attributes();
            change(&mut state);
            EntityTag::of(&state).as_bytes().to_vec()
        };
        let tags = [
            tag(|_| {}),
            tag(|state| state.size += 1),
            tag(|state| state.modified.nanoseconds += 1),
            tag(|state| state.modified.seconds = -1),
            tag(|state| state.file_id += 1),
            tag(|state| state.born.nanoseconds += 1),
            tag(|state| state.file_system += 1),
        ];
        for (place, tag) in tags.iter().enumerate() {
            assert!(tag.starts_with(b"\"") && tag.ends_with(b"\""));
            assert!(!tags[..place].contains(tag), "{place}");
        }
        assert_eq!(tag(|state| state.mode = 0), tags[0]);
    }

    #[test]
    fn conditions_are_judged_in_the_order_of_the_rfc() {
        let tag = EntityTag::of(&attributes());
        let tag = std::str::from_utf8(tag.as_bytes()).unwrap();
        let (weak, list) = (format!("W/{tag}"), format!("\"a,b\" , W/\"c\",{tag}"));
        use Verdict::{Failed, NotModified, Proceed};
        for (fields, verdict) in [
            (vec![], Proceed),
            (vec![("if-match", tag)], Proceed),
            (vec![("if-match", "*")], Proceed),
            (vec![("if-match", &weak)], Failed),
            (vec![("if-match", "\"x\"")], Failed),
            (vec![("if-match", "broken")], Failed),
            (
                vec![("if-match", tag), ("if-unmodified-since", BEFORE)],
                Proceed,
            ),
            (vec![("if-unmodified-since", BEFORE)], Failed),
            (vec![("if-unmodified-since", SAME)], Proceed),
            (vec![("if-unmodified-since", "never")], Proceed),
            (vec![("if-none-match", tag)], NotModified),
            (vec![("if-none-match", &weak)], NotModified),
            (vec![("if-none-match", &list)], NotModified),
            (vec![("if-none-match", "*")], NotModified),
            (
                vec![("if-none-match", "\"x\""), ("if-modified-since", SAME)],
                Proceed,
            ),
            (vec![("if-modified-since", SAME)], NotModified),
            (vec![("if-modified-since", BEFORE)], Proceed),
            (vec![("if-match", "\"x\""), ("if-none-match", tag)], Failed),
        ] {
            assert_eq!(judge(&fields, true, true), verdict, "{fields:?}");
        }
    }

    #[test]
    fn a_write_fails_where_a_read_would_say_not_modified() {
        assert_eq!(
            judge(&[("if-none-match", "*")], true, false),
            Verdict::Failed
        );
        assert_eq!(
            judge(&[("if-none-match", "*")], false, false),
            Verdict::Proceed
        );
        assert_eq!(judge(&[("if-match", "*")], false, false), Verdict::Failed);
        assert_eq!(
            judge(&[("if-modified-since", SAME)], true, false),
            Verdict::Proceed
        );
    }

    #[test]
    fn if_range_needs_a_strong_validator() {
        let current = Validator::of(&attributes(), NOW);
        let weak = [b"W/", current.tag.as_bytes()].concat();
        assert!(if_range_holds(None, &current, NOW));
        assert!(if_range_holds(Some(current.tag.as_bytes()), &current, NOW));
        assert!(!if_range_holds(Some(&weak), &current, NOW));
        assert!(!if_range_holds(Some(b"\"x\""), &current, NOW));
        assert!(if_range_holds(Some(SAME.as_bytes()), &current, NOW));
        assert!(!if_range_holds(Some(BEFORE.as_bytes()), &current, NOW));
        assert!(!if_range_holds(
            Some(SAME.as_bytes()),
            &current,
            784_111_777
        ));
    }
}
