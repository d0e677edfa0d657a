//! Asks a node: one request at a time, blocking, bounded in time and size.
//!
//! Not promised: TLS. A node that is reached over TLS only answers on its plain port to its own
//! host.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use towline_config::status::Status;
use towlined::models::wire::Fault;

use crate::failure::Failure;
use crate::options::{NodeUrl, URL_DEFAULT};

/// Time for the whole question: a node that needs longer is in trouble.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// Largest answer that is read, in bytes: 256 volumes with long allow lists are below 1 MiB.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// The status of the node.
pub(crate) fn status(node: &NodeUrl) -> Result<Status, Failure> {
    let (code, body) = ask(node, "/v1/status", None)?;
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
    let base = node.url.trim_end_matches('/');
    if !base.starts_with("http://") {
        return Err(Failure::usage(format!(
            "--node {base}: write a URL like {URL_DEFAULT}"
        )));
    }
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(ANSWER_TIME_MAX))
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .build()
        .into();
    let url = format!("{base}{path}");
    let answer = match request {
        None => agent.get(url).header("Accept", "application/json").call(),
        Some(request) => agent
            .post(url)
            .content_type("application/json")
            .send(request),
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

fn unreachable_node(base: &str, error: &ureq::Error) -> Failure {
    Failure::Unreachable(format!(
        "{base} does not answer: {error}. Start a node there with 'towline up', or name another \
         with --node URL or TOWLINE_URL"
    ))
}
