//! Logging: where lines go and what they look like.
//!
//! Lines go to standard error. The level comes from the configuration, and `TOWLINE_LOG` (filter
//! directives of tracing-subscriber, for example `towline_nfs=debug`) wins over it. Invariant: what
//! peers can cause writes at most [`LINES_PER_S_MAX`] lines a second (a full disk of log lines is a
//! fault of its own), and as many about faults of the node; lines that are left out are counted and
//! told of. Not promised: that one peer's lines leave room for another's; lines of DEBUG and TRACE
//! are written as asked for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use towline_base::clock;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, filter::FilterExt};

/// Most lines a second that peers can cause: enough to see what happens, for a person and for a
/// disk.
const LINES_PER_S_MAX: u32 = 10;

/// The crates whose every line can be caused by a peer.
const FACES: [&str; 4] = [
    "towline_io",
    "towline_nfs",
    "towline_http",
    "towline_volume",
];

/// Lines that were left out since the start.
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// Starts logging. Does nothing if logging has been started already.
pub fn start(level: &str, as_json: bool) {
    // A variable that is set to nothing would otherwise mean silence.
    let wanted = std::env::var("TOWLINE_LOG").unwrap_or_default();
    let wanted = Some(wanted).filter(|wanted| !wanted.trim().is_empty());
    let filter = wanted.and_then(|wanted| EnvFilter::try_new(wanted).ok());
    let filter = filter.unwrap_or_else(|| EnvFilter::new(level));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false);
    let filter = filter.and(Calm::default());
    let started = if as_json {
        let lines = lines.json().flatten_event(true);
        let registry = tracing_subscriber::registry();
        registry.with(lines.with_filter(filter)).try_init()
    } else {
        let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let lines = lines.with_ansi(is_terminal);
        let registry = tracing_subscriber::registry();
        registry.with(lines.with_filter(filter)).try_init()
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}

/// Lines left out since the start, for the metrics.
pub(crate) fn left_out() -> u64 {
    LEFT_OUT.load(Ordering::Relaxed)
}

/// Lets through what one second has room for.
#[derive(Clone, Debug, Default)]
struct Calm {
    ordinary: Arc<Mutex<Second>>,
    /// Faults of the node have room of their own, which no peer's doings use up.
    errors: Arc<Mutex<Second>>,
}

/// The lines of the present second.
#[derive(Debug, Default)]
struct Second {
    began: Option<Instant>,
    lines: u32,
}

impl Second {
    fn admits(&mut self, now: Instant) -> bool {
        if self
            .began
            .is_none_or(|began| now - began >= Duration::from_secs(1))
        {
            *self = Self {
                began: Some(now),
                lines: 0,
            };
        }
        self.lines += 1;
        self.lines <= LINES_PER_S_MAX
    }
}

/// Whether peers can cause lines like this one.
fn is_caused_by_peers(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let name = target.split("::").next().unwrap_or(target);
    FACES.contains(&name) || metadata.fields().field("peer").is_some()
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Filter<S> for Calm {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO || !is_caused_by_peers(metadata) {
            return true;
        }
        let second = if *metadata.level() == Level::ERROR {
            &self.errors
        } else {
            &self.ordinary
        };
        let mut second = second.lock().unwrap_or_else(PoisonError::into_inner);
        let admits = second.admits(clock::now());
        if !admits {
            LEFT_OUT.fetch_add(1, Ordering::Relaxed);
        }
        admits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn peers_cause_ten_lines_a_second_and_keep_no_fault_of_the_node_from_the_log() {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer().with_writer(move || writer.clone());
        let filter = EnvFilter::new("info").and(Calm::default());
        let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter));
        let before = left_out();
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..1_000 {
                tracing::warn!(target: "towline_io::worker", number, "caused by a peer");
                tracing::info!(peer = "10.0.0.1", "caused by a peer");
                tracing::debug!(target: "towline_io::worker", "not asked for");
            }
            tracing::error!(target: "towline_volume::tree", "a fault of the disk");
            tracing::info!("the node's own");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        // The loop may pass from one second to the next.
        let caused = text.matches("caused by a peer").count();
        assert!((10..=30).contains(&caused), "{caused} lines");
        assert!(text.contains("a fault of the disk") && text.contains("the node's own"));
        assert!(left_out() - before >= 1_900);
    }

    #[test]
    fn a_second_has_room_for_ten_and_the_next_one_again() {
        let (mut second, now) = (Second::default(), clock::now());
        let admitted = (0..20).filter(|_| second.admits(now)).count();
        assert_eq!(admitted, LINES_PER_S_MAX as usize);
        assert!(second.admits(now + Duration::from_secs(1)));
    }
}
