//! The head of an HTTP/1.1 response, as far as a measurement needs it (RFC 9112, RFC 9110).
//!
//! Sans-I/O: bytes in, a head or "not yet" out. Invariant: at most [`HEAD_BYTES_MAX`] octets are
//! looked at; a length that is missing or no number is an error, because without it no block can
//! be counted. Not promised: chunked bodies; they are refused by name.

/// Longest head, in octets: servers in use send some hundred.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What a head says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Head {
    /// Octets of the head itself.
    pub head_bytes: usize,
    /// Status code.
    pub status: u16,
    /// Octets of the body.
    pub body_bytes: u64,
    /// Whether the connection ends with this response.
    pub closes: bool,
}

/// Reads a head from the first octets of a connection; `None` when more must come.
///
/// # Errors
/// What is wrong with it.
pub fn parse(bytes: &[u8]) -> Result<Option<Head>, String> {
    let seen = bytes.get(..HEAD_BYTES_MAX).unwrap_or(bytes);
    let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") else {
        return match bytes.len() >= HEAD_BYTES_MAX {
            true => Err(format!("a head of more than {HEAD_BYTES_MAX} octets")),
            false => Ok(None),
        };
    };
    let text = String::from_utf8_lossy(seen.get(..end).unwrap_or(&[])).into_owned();
    // A line end of another kind would be read differently by others (RFC 9112 section 2.2).
    if text.split("\r\n").any(has_control) {
        return Err("a control character in the head of its answer".to_owned());
    }
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or("");
    let status = first
        .strip_prefix("HTTP/1.")
        .and_then(|rest| status_of(rest.get(1..)?))
        .ok_or_else(|| format!("no HTTP/1 answer: {}", shown(first)))?;
    let mut head = Head {
        head_bytes: end + 4,
        status,
        body_bytes: 0,
        closes: first.starts_with("HTTP/1.0"),
    };
    let mut length = None;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = Some(agreed(length, value).ok_or_else(|| shown(line))?),
            "connection" => head.closes |= value.eq_ignore_ascii_case("close"),
            "transfer-encoding" => {
                return Err("the server sends it in chunks without a length".to_owned());
            }
            _ => {}
        }
    }
    match (length, status) {
        (Some(length), _) => head.body_bytes = length,
        (None, 204 | 304) => {}
        (None, _) => return Err(format!("status {status} without a Content-Length")),
    }
    Ok(Some(head))
}

/// The status behind the version, ` 206 Partial Content`: three digits (RFC 9112 section 4).
fn status_of(rest: &str) -> Option<u16> {
    let (code, reason) = rest.strip_prefix(' ')?.split_at_checked(3)?;
    let is_code = code.bytes().all(|byte| byte.is_ascii_digit());
    let ends = reason.is_empty() || reason.starts_with(' ');
    code.parse().ok().filter(|_| is_code && ends)
}

/// A length of digits alone that contradicts none before it (RFC 9112 section 6.3).
fn agreed(before: Option<u64>, value: &str) -> Option<u64> {
    let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
    let length = value.parse().ok().filter(|_| is_number)?;
    before
        .is_none_or(|before| before == length)
        .then_some(length)
}

fn has_control(line: &str) -> bool {
    line.bytes()
        .any(|byte| byte.is_ascii_control() && byte != b'\t')
}

fn shown(line: &str) -> String {
    line.chars()
        .take(80)
        .filter(|letter| !letter.is_control())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_told_when_it_is_whole() {
        let text = b"HTTP/1.1 206 Partial Content\r\ncontent-LENGTH: 12\r\n\r\nbody";
        for cut in 0..text.len() - 4 {
            assert_eq!(parse(&text[..cut]), Ok(None), "{cut}");
        }
        let head = parse(text).unwrap().unwrap();
        assert_eq!(
            (head.status, head.body_bytes, head.closes),
            (206, 12, false)
        );
        assert_eq!(&text[head.head_bytes..], b"body");
    }

    #[test]
    fn what_cannot_be_counted_is_refused() {
        for wrong in [
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 2\r\n\r\n",
            "HTTP/1.1 206 x\nContent-Length: 11\r\nContent-Length: 70\r\n\r\n",
        ] {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(parse(&vec![b'a'; HEAD_BYTES_MAX]).is_err());
        assert_eq!(parse(&vec![b'a'; HEAD_BYTES_MAX - 1]), Ok(None));
    }
}
