//! Asks a node: one request at a time, blocking, bounded in time and size.
//!
//! Behind `https://` the node's certificate is checked against the authorities of this system, or
//! against those of `--ca-file`. Not promised: proxies; a node is asked itself.

use std::io::Read;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use towline_api::Fault;
use towline_api::Status;
use ureq::tls::{TlsConfig, TlsProvider};

use crate::failure::Failure;
use crate::options::NodeUrl;

/// Time for the whole question: a node that needs longer is in trouble.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// Time for a question that names every file of a model.
const LONG_ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

/// Time until the node takes a connection.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// Time for the node's word on a file that was sent: it has hashed and synced it by then, and what
/// had come before it is hashed again, which takes a second for each gigabyte.
const SENT_TIME_MAX: Duration = Duration::from_secs(1_800);

/// Largest answer that is read, in bytes: the files of a model that must be sent, 100,000 of them.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// The status of the node.
pub(crate) fn status(node: &NodeUrl) -> Result<Status, Failure> {
    let (code, body) = ask(node, towline_api::STATUS, None)?;
    read(node, code, &body)
}

/// What a page of the node says.
pub(crate) fn get<T: DeserializeOwned>(node: &NodeUrl, path: &str) -> Result<T, Failure> {
    let (code, body) = ask(node, path, None)?;
    read(node, code, &body)
}

/// What the node answers to a request.
pub(crate) fn post<T: DeserializeOwned>(
    node: &NodeUrl,
    path: &str,
    request: &impl Serialize,
) -> Result<T, Failure> {
    let request =
        serde_json::to_string(request).map_err(|error| Failure::Internal(error.to_string()))?;
    let (code, body) = ask(node, path, Some(request))?;
    read(node, code, &body)
}

fn read<T: DeserializeOwned>(node: &NodeUrl, code: u16, body: &str) -> Result<T, Failure> {
    let base = node.url.trim_end_matches('/');
    if !(200..300).contains(&code) {
        return Err(refused(base, code, body));
    }
    serde_json::from_str(body).map_err(|error| {
        Failure::Internal(format!(
            "{base} answered with something that no towline node of this version says ({error}); \
             is a towline node there?"
        ))
    })
}

/// What a refusal means, by whose fault it was.
fn refused(base: &str, code: u16, body: &str) -> Failure {
    if let Ok(fault) = serde_json::from_str::<Fault>(body) {
        return Failure::of(&fault);
    }
    let said = body.lines().next().unwrap_or("").escape_debug();
    match code {
        400..500 => Failure::Refused(format!("{base}: {said}")),
        _ => Failure::Unreachable(format!("{base} answered {code}: {said}")),
    }
}

/// One request; the status code and the body.
fn ask(node: &NodeUrl, path: &str, request: Option<String>) -> Result<(u16, String), Failure> {
    let base = node.url.as_str();
    let limit = match &request {
        Some(request) if request.len() > 64 << 10 => LONG_ANSWER_TIME_MAX,
        Some(_) | None => ANSWER_TIME_MAX,
    };
    let agent = agent(node, |config| config.timeout_global(Some(limit)))?;
    let url = format!("{base}{path}");
    let authorization = authorization(node);
    let answer = match request {
        None => {
            let mut get = agent.get(url).header("Accept", "application/json");
            if let Some(value) = authorization {
                get = get.header("Authorization", value);
            }
            get.call()
        }
        Some(request) => {
            let mut post = agent.post(url).content_type("application/json");
            if let Some(value) = authorization {
                post = post.header("Authorization", value);
            }
            post.send(request)
        }
    };
    let mut answer = answer.map_err(|error| unreachable_node(base, &error))?;
    let code = answer.status().as_u16();
    let body = answer
        .body_mut()
        .with_config()
        .limit(ANSWER_BYTES_MAX)
        .read_to_string()
        .map_err(|error| unreachable_node(base, &error))?;
    Ok((code, body))
}

type Configuring = ureq::config::ConfigBuilder<ureq::typestate::AgentScope>;

fn agent(
    node: &NodeUrl,
    limits: impl FnOnce(Configuring) -> Configuring,
) -> Result<ureq::Agent, Failure> {
    let mut config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None);
    if node.url.starts_with("https://") {
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(node.authorities()?);
        config = config.tls_config(tls.build());
    }
    Ok(limits(config).build().into())
}

fn authorization(node: &NodeUrl) -> Option<String> {
    let token = node.token.as_ref()?;
    Some(format!("Bearer {}", token.expose()))
}

/// Sends what is left of a file to the path that the node named for it.
pub(crate) fn put(
    node: &NodeUrl,
    path: &str,
    (from, size): (u64, u64),
    body: &mut (impl Read + ?Sized),
) -> Result<(), Failure> {
    let base = node.url.trim_end_matches('/');
    let agent = agent(node, |config| {
        config
            .timeout_connect(Some(CONNECT_TIME_MAX))
            .timeout_recv_response(Some(SENT_TIME_MAX))
    })?;
    let mut put = agent
        .put(format!("{base}{path}"))
        .header("Content-Length", (size - from).to_string());
    if from > 0 {
        let last = size.saturating_sub(1);
        put = put.header("Content-Range", format!("bytes {from}-{last}/{size}"));
    }
    let mut body = body;
    let answer = put.send(ureq::SendBody::from_reader(&mut body));
    let mut answer = answer.map_err(|error| unreachable_node(base, &error))?;
    let code = answer.status().as_u16();
    let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
    let body = body.read_to_string().unwrap_or_default();
    if (200..300).contains(&code) {
        return Ok(());
    }
    let said: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
    let said = said.get("error").and_then(|why| why.as_str()).unwrap_or("");
    let said = format!("{base} answered {code}: {}", said.escape_debug());
    Err(match code {
        // Too slow, too many at once, or gone on with by another: asking again may help.
        408 | 409 | 425 | 429 => Failure::Temporary(said),
        400..500 => Failure::Refused(said),
        507 => Failure::Storage(said),
        _ => Failure::Temporary(said),
    })
}

fn unreachable_node(base: &str, error: &ureq::Error) -> Failure {
    let said = error.to_string();
    if said.contains("CaUsedAsEndEntity") {
        return Failure::Unreachable(format!(
            "{base}: its certificate is that of an authority, which must not be a server's own. \
             Make one with: openssl req -x509 ... -addext basicConstraints=critical,CA:FALSE"
        ));
    }
    if said.contains("invalid peer certificate") {
        return Failure::Unreachable(format!(
            "{base}: {said}. Name the certificate of the node or of its authority with --ca-file \
             FILE or TOWLINE_CA_FILE, and the node as its certificate does"
        ));
    }
    if said.contains("InvalidContentType") {
        return Failure::Unreachable(format!(
            "{base} does not speak TLS there: write http://, or the port of [tls] in the node's \
             configuration (8443)"
        ));
    }
    Failure::Unreachable(format!(
        "{base} does not answer: {said}. Start a node there with 'towline up', or name another \
         with --node URL or TOWLINE_URL (its HTTP port is 8420 unless it says otherwise)"
    ))
}
