//! Logging: where lines go and what they look like.
//!
//! Lines go to standard error. The level comes from the configuration, and `TOWLINE_LOG` (filter
//! directives of tracing-subscriber, for example `towline_nfs=debug`) wins over it.

use tracing_subscriber::EnvFilter;

/// Starts logging. Does nothing if logging has been started already.
pub fn start(level: &str, as_json: bool) {
    let filter = EnvFilter::try_from_env("TOWLINE_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    let started = if as_json {
        lines.json().flatten_event(true).try_init()
    } else {
        lines
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .try_init()
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}
