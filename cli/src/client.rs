//! Asks a node for its status: one request, blocking, bounded in time and size.
//!
//! Not promised: TLS. A node that is reached over TLS only answers on its plain port to its own
//! host.

use std::time::Duration;

use towline_config::status::Status;

use crate::failure::Failure;
use crate::options::{NodeUrl, URL_DEFAULT};

/// Time for the whole question: a node that needs longer is in trouble.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// Largest answer that is read, in bytes: 256 volumes with long allow lists are below 1 MiB.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// The status of the node.
pub(crate) fn status(node: &NodeUrl) -> Result<Status, Failure> {
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
    let mut answer = agent
        .get(format!("{base}/v1/status"))
        .header("Accept", "application/json")
        .call()
        .map_err(|error| unreachable_node(base, &error))?;
    let code = answer.status().as_u16();
    let body = answer
        .body_mut()
        .with_config()
        .limit(ANSWER_BYTES_MAX)
        .read_to_string()
        .map_err(|error| unreachable_node(base, &error))?;
    if code != 200 {
        let said = body.lines().next().unwrap_or("").escape_debug();
        return Err(Failure::Unreachable(format!(
            "{base} answered {code}: {said}"
        )));
    }
    serde_json::from_str(&body).map_err(|error| {
        Failure::Internal(format!(
            "{base} answered with something that is no status of a node ({error}); \
             is a towline node there?"
        ))
    })
}

fn unreachable_node(base: &str, error: &ureq::Error) -> Failure {
    Failure::Unreachable(format!(
        "{base} does not answer: {error}. Start a node there with 'towline up', or name another \
         with --node URL or TOWLINE_URL"
    ))
}
