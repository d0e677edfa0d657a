//! Hostile input as readable files: `tests/corpus/<threat>/<name>.case`.
//!
//! A line is a directive; what is sent is their bytes one after the other.
//!
//! * `# words` says what it is; the first line must be one
//! * `to nfs` or `to http`; `needs root`
//! * `hex 8000 0004`, `number 7`, `text GET / HTTP/1.1\r\n` (also `\n`, `\t`, `\0`)
//! * `repeat 1000 DIRECTIVE`
//! * `call PROGRAM VERSION PROCEDURE UID` begins an RPC record with an AUTH_SYS credential, or
//!   with AUTH_NONE when the uid is `none`; `end` completes its length
//! * `opaque TEXT` counted and padded; `handle EXPORT` the root handle of an export, likewise
//! * `expect closed`, `expect refused`, `expect accept N...`, `expect status N...`,
//!   `expect http N...`, `expect anything`
//!
//! Several `expect` lines are alternatives. Invariant: an unknown directive is an error. Not
//! promised: that a case proves a rule alone; it proves that this input has this answer.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::wire::{Answer, Heard};

/// Which face of the node is spoken to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Face {
    /// NFS and MOUNT.
    Nfs,
    /// HTTP.
    Http,
}

/// What may come back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Expectation {
    /// The connection is closed without a reply.
    Closed,
    /// Closed, denied, or accepted with a state other than success.
    Refused,
    /// Accepted with one of these states (RFC 5531 section 9).
    Accept(Vec<u32>),
    /// Accepted, and the first number of the result is one of these.
    Status(Vec<u32>),
    /// One of these HTTP statuses.
    Http(Vec<u32>),
    /// Whatever: only the node's health is judged.
    Anything,
}

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Where it was read from.
    pub path: PathBuf,
    /// Which face it is for.
    pub face: Face,
    /// Whether it means something only when the node runs as root.
    pub needs_root: bool,
    /// What is sent.
    pub bytes: Vec<u8>,
    /// Any of these is right.
    pub expectations: Vec<Expectation>,
}

impl Case {
    /// Reads a case; `handle` gives the root handle of an export.
    ///
    /// # Errors
    /// Fails at a line that is no directive.
    pub fn read(path: &Path, handle: &dyn Fn(&str) -> Result<Vec<u8>>) -> Result<Self> {
        let text = std::fs::read_to_string(path)?;
        ensure!(
            text.starts_with("# "),
            "{}: the first line says what it is",
            path.display()
        );
        let mut case = Self {
            path: path.to_owned(),
            face: Face::Nfs,
            needs_root: false,
            bytes: Vec::new(),
            expectations: Vec::new(),
        };
        let mut mark_at = None;
        for line in text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let done = case.directive(line, &mut mark_at, handle);
            done.with_context(|| format!("{}: {line}", path.display()))?;
        }
        ensure!(
            !case.expectations.is_empty(),
            "{}: expects nothing",
            path.display()
        );
        Ok(case)
    }

    fn directive(
        &mut self,
        line: &str,
        mark_at: &mut Option<usize>,
        handle: &dyn Fn(&str) -> Result<Vec<u8>>,
    ) -> Result<()> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "to" => {
                self.face = if rest == "http" {
                    Face::Http
                } else {
                    Face::Nfs
                }
            }
            "needs" => self.needs_root = rest == "root",
            "hex" => self.bytes.extend(hex(rest)?),
            "number" => self.number(number(rest)?),
            "text" => self.bytes.extend(unescape(rest)?),
            "opaque" => self.opaque(&unescape(rest)?),
            "handle" => self.opaque(&handle(rest)?),
            "repeat" => {
                let (count, inner) = rest.split_once(' ').context("repeat what?")?;
                for _time in 0..number(count)?.min(4_000_000) {
                    self.directive(inner, mark_at, handle)?;
                }
            }
            "call" => {
                *mark_at = Some(self.bytes.len());
                self.call(rest)?;
            }
            "end" => {
                let at = mark_at.take().context("end without call")?;
                let length = u32::try_from(self.bytes.len() - at - 4)?;
                self.bytes[at..at + 4].copy_from_slice(&((1 << 31) | length).to_be_bytes());
            }
            "expect" => self.expectations.push(expectation(rest)?),
            _ => bail!("unknown directive {word}"),
        }
        Ok(())
    }

    fn number(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    fn opaque(&mut self, bytes: &[u8]) {
        self.number(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.bytes.extend_from_slice(bytes);
        let padding = bytes.len().next_multiple_of(4) - bytes.len();
        self.bytes.extend_from_slice(&[0; 3][..padding]);
    }

    fn call(&mut self, rest: &str) -> Result<()> {
        let words: Vec<&str> = rest.split_whitespace().collect();
        let [program, version, procedure, uid] = words.as_slice() else {
            bail!("call PROGRAM VERSION PROCEDURE UID");
        };
        for value in [
            0,
            77,
            0,
            2,
            number(program)?,
            number(version)?,
            number(procedure)?,
        ] {
            self.number(value);
        }
        match *uid {
            "none" => self.bytes.extend_from_slice(&[0; 16]),
            uid => {
                let uid = number(uid)?;
                for value in [
                    1,
                    24,
                    0,
                    1,
                    u32::from_be_bytes(*b"c\0\0\0"),
                    uid,
                    uid,
                    0,
                    0,
                    0,
                ] {
                    self.number(value);
                }
            }
        }
        Ok(())
    }

    /// Judges what came back from the NFS face.
    #[must_use]
    pub fn accepts(&self, heard: &Heard) -> bool {
        self.expectations
            .iter()
            .any(|expectation| match (expectation, heard) {
                (Expectation::Anything, _)
                | (Expectation::Closed | Expectation::Refused, Heard::Closed) => true,
                (expectation, Heard::Record(record)) => {
                    Answer::parse(record).is_ok_and(|answer| matches(expectation, &answer))
                }
                (_, Heard::Closed | Heard::Silence) => false,
            })
    }

    /// Judges the beginning of what came back from the HTTP face.
    #[must_use]
    pub fn accepts_http(&self, reply: &[u8]) -> bool {
        let status = reply
            .strip_prefix(b"HTTP/1.1 ")
            .and_then(|rest| rest.get(..3));
        let status = status.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        self.expectations
            .iter()
            .any(|expectation| match expectation {
                Expectation::Anything => true,
                Expectation::Closed => reply.is_empty(),
                Expectation::Http(wanted) => status.is_some_and(|status| wanted.contains(&status)),
                Expectation::Refused | Expectation::Accept(_) | Expectation::Status(_) => false,
            })
    }
}

fn matches(expectation: &Expectation, answer: &Answer) -> bool {
    let first = answer
        .body
        .first_chunk::<4>()
        .map(|bytes| u32::from_be_bytes(*bytes));
    match expectation {
        Expectation::Refused => answer.accepted != Some(0),
        Expectation::Accept(wanted) => answer.accepted.is_some_and(|got| wanted.contains(&got)),
        Expectation::Status(wanted) => {
            answer.accepted == Some(0) && first.is_some_and(|got| wanted.contains(&got))
        }
        Expectation::Anything => true,
        Expectation::Closed | Expectation::Http(_) => false,
    }
}

fn expectation(text: &str) -> Result<Expectation> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let numbers = || {
        rest.split_whitespace()
            .map(number)
            .collect::<Result<Vec<u32>>>()
    };
    Ok(match word {
        "closed" => Expectation::Closed,
        "refused" => Expectation::Refused,
        "accept" => Expectation::Accept(numbers()?),
        "status" => Expectation::Status(numbers()?),
        "http" => Expectation::Http(numbers()?),
        "anything" => Expectation::Anything,
        _ => bail!("unknown expectation {word}"),
    })
}

fn number(text: &str) -> Result<u32> {
    text.trim()
        .parse()
        .with_context(|| format!("{text:?} is no number"))
}

fn hex(text: &str) -> Result<Vec<u8>> {
    let digits: Vec<u32> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16))
        .collect::<Option<_>>()
        .context("not hexadecimal")?;
    Ok(digits
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |sum, digit| sum << 4 | *digit as u8))
        .collect())
}

fn unescape(text: &str) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next() {
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'0') => 0,
            Some(b's') => b' ',
            Some(b'\\') => b'\\',
            other => bail!("unknown escape {other:?}"),
        });
    }
    Ok(out)
}
