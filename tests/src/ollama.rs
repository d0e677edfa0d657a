//! Pulls a model the way `ollama pull` does, request by request, over plain sockets.
//!
//! Written after what ollama's `server/download.go` sends: the manifest; for each blob a HEAD for
//! its length, a GET without a range that is dropped unread once its head said where the blob is,
//! then ranged GETs of that place whose status nobody looks at; at last a hash of everything.
//! Invariant: what is missing or wrong fails as it would there. Not promised: retries, of which a
//! test wants none.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);
/// Longest head of a reply, in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;
const ACCEPT: &str = "Accept: application/vnd.docker.distribution.manifest.v2+json\r\n";

/// A pulled model.
#[derive(Debug)]
pub struct Pulled {
    /// The manifest's bytes, as they are stored.
    pub manifest: Vec<u8>,
    /// The blobs by digest.
    pub blobs: BTreeMap<String, Vec<u8>>,
    /// Digests of the layers by the last word of their media type.
    pub layers: BTreeMap<String, String>,
    /// The configuration.
    pub config: Value,
}

/// The status and head of a reply, and a stream on which its body comes.
struct Reply {
    status: u16,
    head: String,
    stream: TcpStream,
}

impl Reply {
    fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(':'));
        let mut found = fields.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim())
    }

    fn body(mut self, length: usize) -> Result<Vec<u8>> {
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(body)
    }
}

fn ask(node: SocketAddr, method: &str, path: &str, fields: &str) -> Result<Reply> {
    let mut stream = TcpStream::connect(node)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {node}\r\n{fields}\r\n");
    stream.write_all(head.as_bytes())?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(
            head.len() < HEAD_BYTES_MAX,
            "the head of {path} does not end"
        );
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head)?;
    let status = head.get(9..12).context("no status")?.parse()?;
    Ok(Reply {
        status,
        head,
        stream,
    })
}

/// The status of a question without a body.
///
/// # Errors
/// Fails when the node does not answer.
pub fn status(node: SocketAddr, method: &str, path: &str) -> Result<u16> {
    Ok(ask(node, method, path, "")?.status)
}

/// Pulls `name:tag` in parts of `part_bytes`.
///
/// # Errors
/// Fails where ollama would.
pub fn pull(node: SocketAddr, name: &str, tag: &str, part_bytes: usize) -> Result<Pulled> {
    let path = format!("/v2/{name}/manifests/{tag}");
    let reply = ask(node, "GET", &path, ACCEPT)?;
    ensure!(reply.status < 400, "pull model manifest: {}", reply.head);
    let length = reply
        .field("content-length")
        .context("no length")?
        .parse()?;
    let manifest = reply.body(length)?;
    let document: Value = serde_json::from_slice(&manifest)?;
    ensure!(document["schemaVersion"] == 2, "{document}");
    let mut pulled = Pulled {
        manifest,
        blobs: BTreeMap::new(),
        layers: BTreeMap::new(),
        config: Value::Null,
    };
    let layers = document["layers"].as_array().context("no layers")?;
    for layer in layers.iter().chain([&document["config"]]) {
        let digest = layer["digest"].as_str().context("no digest")?;
        let size = layer["size"].as_u64().context("no size")?;
        let blob = blob(node, name, digest, part_bytes)?;
        ensure!(
            blob.len() as u64 == size,
            "{digest}: {} of {size}",
            blob.len()
        );
        let kind = layer["mediaType"].as_str().context("no media type")?;
        let word = kind.rsplit('.').next().unwrap_or(kind);
        pulled.layers.insert(word.to_owned(), digest.to_owned());
        pulled.blobs.insert(digest.to_owned(), blob);
    }
    let config = document["config"]["digest"].as_str().context("no digest")?;
    pulled.config = serde_json::from_slice(&pulled.blobs[config])?;
    Ok(pulled)
}

fn blob(node: SocketAddr, name: &str, digest: &str, part_bytes: usize) -> Result<Vec<u8>> {
    let path = format!("/v2/{name}/blobs/{digest}");
    let head = ask(node, "HEAD", &path, "")?;
    let length = head.field("content-length").context("no length")?;
    let total: usize = length.parse()?;
    let whole = ask(node, "GET", &path, "")?;
    let place = match whole.status {
        200 | 307 => whole
            .field("location")
            .context("no Location header in response")?,
        other => bail!("unexpected status code {other}"),
    };
    let place = place.to_owned();
    drop(whole);
    let mut bytes = Vec::with_capacity(total);
    while bytes.len() < total {
        let last = (bytes.len() + part_bytes).min(total) - 1;
        let field = format!("Range: bytes={}-{last}\r\n", bytes.len());
        // Whatever its status: a server that ignores the range spoils the hash below.
        let part = ask(node, "GET", &place, &field)?;
        bytes.append(&mut part.body(last + 1 - bytes.len())?);
    }
    let hash = ring::digest::digest(&ring::digest::SHA256, &bytes);
    let digits: String = hash
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    ensure!(
        digest == format!("sha256:{digits}"),
        "digest mismatch, {digest}"
    );
    Ok(bytes)
}
