//! The page of metrics while it is written.
//!
//! Governed by the Prometheus text exposition format 0.0.4. Invariant: a metric is introduced with
//! its help, kind and tier once, however many samples of it follow one another. Names of the
//! stable tier stay over minor versions. Not promised: that two parts use different names; the
//! table of metrics in ARCHITECTURE.md says whose is which.

use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a usual page.
const USUAL_BYTES: usize = 16 << 10;

/// What a metric is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Counter,
    Gauge,
}

/// How long a metric keeps its name.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tier {
    Stable,
    Experimental,
}

/// One row of a table of metrics: name, kind, help, and what counts it.
pub(crate) type Row<'a> = (&'static str, Kind, &'static str, &'a AtomicU64);

/// The page.
#[derive(Debug)]
pub(crate) struct Page {
    text: String,
    /// The metric that was introduced last.
    last: &'static str,
}

impl Default for Page {
    fn default() -> Self {
        Self {
            text: String::with_capacity(USUAL_BYTES),
            last: "",
        }
    }
}

impl Page {
    /// Introduces a metric, unless it is the one that was introduced last.
    pub(crate) fn head(&mut self, name: &'static str, kind: Kind, tier: Tier, help: &str) {
        if name == self.last {
            return;
        }
        self.last = name;
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let tier = match tier {
            Tier::Stable => "stable",
            Tier::Experimental => "experimental",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help} ({tier})");
        let _ = writeln!(self.text, "# TYPE {name} {kind}");
    }

    /// A sample of a metric; `labels` as they stand between the braces.
    pub(crate) fn line(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = match labels {
            "" => writeln!(self.text, "{name} {value}"),
            labels => writeln!(self.text, "{name}{{{labels}}} {value}"),
        };
    }

    /// A metric with one sample.
    pub(crate) fn metric(
        &mut self,
        (name, kind, tier): (&'static str, Kind, Tier),
        help: &str,
        value: impl Display,
    ) {
        self.head(name, kind, tier, help);
        self.line(name, "", value);
    }

    /// Metrics with one sample each.
    pub(crate) fn rows(&mut self, tier: Tier, rows: &[Row<'_>]) {
        for (name, kind, help, counter) in rows {
            let value = counter.load(Ordering::Relaxed);
            self.metric((name, *kind, tier), help, value);
        }
    }

    /// Text that is in the format already, with its own heads.
    pub(crate) fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.last = "";
    }

    /// The finished page.
    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_introduced_once_for_all_its_samples() {
        let mut page = Page::default();
        let counter = AtomicU64::new(7);
        for labels in ["a=\"1\"", "a=\"2\""] {
            page.head("x_total", Kind::Counter, Tier::Stable, "X.");
            page.line("x_total", labels, 3);
        }
        page.rows(Tier::Experimental, &[("y", Kind::Gauge, "Y.", &counter)]);
        page.push("z 1\n");
        assert_eq!(
            page.into_text(),
            "# HELP x_total X. (stable)\n# TYPE x_total counter\nx_total{a=\"1\"} 3\n\
             x_total{a=\"2\"} 3\n# HELP y Y. (experimental)\n# TYPE y gauge\ny 7\nz 1\n"
        );
    }
}
