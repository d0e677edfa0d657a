//! The table of data-path.md section 9: what was measured against what was promised.
//!
//! Invariant: a row fails exactly when one of its "at least" marks is missed; goals never fail a
//! run. Ratios are medians of per-round ratios, so slow drift of the machine cancels out.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::figures::{Outcome, median};

/// What is compared in a row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unit {
    /// GiB per second, and server seconds per GiB.
    Gib,
    /// Requests per second, and server microseconds per request.
    Requests,
}

/// What was promised for a row; `None` where nothing was.
#[derive(Clone, Copy, Debug, Default)]
pub struct Marks {
    /// Least throughput ratio, subject over peer.
    pub throughput_min: Option<f64>,
    /// Largest ratio of server time per unit of work, subject over peer.
    pub cpu_max: Option<f64>,
    /// Throughput ratio aimed for.
    pub throughput_goal: Option<f64>,
}

/// One load, measured on both sides in interleaved rounds.
#[derive(Clone, Debug)]
pub struct Row {
    /// The load, in words.
    pub load: String,
    /// The other server, in words.
    pub peer_name: String,
    /// What is compared.
    pub unit: Unit,
    /// What was promised.
    pub marks: Marks,
    /// The peer's rounds.
    pub peer: Vec<Outcome>,
    /// The subject's rounds, in the same order; empty when only the peer was measured.
    pub subject: Vec<Outcome>,
}

impl Row {
    fn rate(&self, outcome: &Outcome) -> f64 {
        match self.unit {
            Unit::Gib => outcome.gib_per_s(),
            Unit::Requests => outcome.requests_per_s(),
        }
    }

    fn cpu(&self, outcome: &Outcome) -> f64 {
        match self.unit {
            Unit::Gib => outcome.cpu_s_per_gib(),
            Unit::Requests => outcome.cpu_us_per_request(),
        }
    }

    fn medians(&self, side: &[Outcome]) -> (f64, f64, f64) {
        let of = |figure: &dyn Fn(&Outcome) -> f64| {
            median(&side.iter().map(figure).collect::<Vec<f64>>())
        };
        (
            of(&|one| self.rate(one)),
            of(&|one| self.cpu(one)),
            of(&|one| one.latency_us(0.99)),
        )
    }

    /// Throughput and server-time ratios, subject over peer.
    #[must_use]
    pub fn ratios(&self) -> Option<(f64, f64)> {
        if self.subject.is_empty() {
            return None;
        }
        let rounds = || self.subject.iter().zip(&self.peer);
        let rates: Vec<f64> = rounds().map(|(a, b)| self.rate(a) / self.rate(b)).collect();
        let cpus: Vec<f64> = rounds().map(|(a, b)| self.cpu(a) / self.cpu(b)).collect();
        Some((median(&rates), median(&cpus)))
    }

    /// Whether every "at least" mark is met; a row without a subject meets none and fails none.
    #[must_use]
    pub fn passes(&self) -> Option<bool> {
        let (throughput, cpu) = self.ratios()?;
        let fast = self
            .marks
            .throughput_min
            .is_none_or(|mark| throughput >= mark);
        let cheap = self.marks.cpu_max.is_none_or(|mark| cpu <= mark);
        Some(fast && cheap)
    }

    fn to_json(&self) -> Value {
        let side = |rounds: &[Outcome]| {
            let (rate, cpu, p99_us) = self.medians(rounds);
            let rounds: Vec<Value> = rounds.iter().map(Outcome::to_json).collect();
            json!({ "rate": rate, "cpu": cpu, "p99_us": p99_us, "rounds": rounds })
        };
        json!({
            "load": self.load,
            "peer_name": self.peer_name,
            "unit": match self.unit { Unit::Gib => "gib", Unit::Requests => "requests" },
            "throughput_ratio": self.ratios().map(|pair| pair.0),
            "cpu_ratio": self.ratios().map(|pair| pair.1),
            "throughput_min": self.marks.throughput_min,
            "throughput_goal": self.marks.throughput_goal,
            "cpu_max": self.marks.cpu_max,
            "pass": self.passes(),
            "peer": side(&self.peer),
            "subject": side(&self.subject),
        })
    }
}

/// Whether every mark of every row is met; rows without a subject do not count.
#[must_use]
pub fn all_pass(rows: &[Row]) -> bool {
    rows.iter().all(|row| row.passes() != Some(false))
}

/// The rows for people.
#[must_use]
pub fn to_text(rows: &[Row], subject_name: &str) -> String {
    let mut text = String::new();
    let _infallible = writeln!(
        text,
        "{:<44} {:<14} {:>24} {:>24} {:>7} {:>7}  {:<24} result",
        "load",
        "peer",
        "peer: rate cpu p99",
        format!("{subject_name}: rate cpu p99"),
        "rate",
        "cpu",
        "marks (goal)"
    );
    for row in rows {
        let ratios = row.ratios();
        let _infallible = writeln!(
            text,
            "{:<44} {:<14} {:>24} {:>24} {:>7} {:>7}  {:<24} {}",
            row.load,
            row.peer_name,
            side_text(row, &row.peer),
            side_text(row, &row.subject),
            ratios.map_or("-".into(), |pair| format!("x{:.2}", pair.0)),
            ratios.map_or("-".into(), |pair| format!("x{:.2}", pair.1)),
            marks_text(row.marks),
            match row.passes() {
                Some(true) => "PASS",
                Some(false) => "FAIL",
                None => "-",
            }
        );
    }
    text.push_str("rate: GiB/s or thousand requests/s; cpu: server s/GiB or us/request; p99: ms\n");
    text.push_str(
        "rates, cpu and p99 vary by machine and hour: only the ratios of one run compare. \
         Of these, short ranges vary\nmost between machines (system calls and copies cost \
         differently: x0.9 to x2.4 was seen for 64 KiB), whole files least.\n",
    );
    text
}

fn side_text(row: &Row, side: &[Outcome]) -> String {
    if side.is_empty() {
        return "-".into();
    }
    let (rate, cpu, p99_us) = row.medians(side);
    match row.unit {
        Unit::Gib => format!("{rate:.2} {cpu:.3} {:.2}", p99_us / 1000.0),
        Unit::Requests => format!("{:.1}k {cpu:.2} {:.2}", rate / 1000.0, p99_us / 1000.0),
    }
}

fn marks_text(marks: Marks) -> String {
    let mut parts = Vec::new();
    parts.extend(marks.throughput_min.map(|mark| format!(">= x{mark}")));
    parts.extend(marks.throughput_goal.map(|mark| format!("(x{mark})")));
    parts.extend(marks.cpu_max.map(|mark| format!("cpu <= x{mark}")));
    parts.join(" ")
}

/// The rows for programs.
#[must_use]
pub fn to_json(rows: &[Row]) -> Value {
    json!({ "pass": all_pass(rows), "rows": rows.iter().map(Row::to_json).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(bytes: u64, cpu: f64) -> Outcome {
        let mut outcome = Outcome::default();
        (outcome.seconds, outcome.bytes, outcome.server_cpu_seconds) = (1.0, bytes, cpu);
        outcome
    }

    #[test]
    fn a_row_fails_when_either_mark_is_missed() {
        let marks = Marks {
            throughput_min: Some(2.0),
            cpu_max: Some(0.5),
            throughput_goal: None,
        };
        let row = |subject| Row {
            load: String::new(),
            peer_name: String::new(),
            unit: Unit::Gib,
            marks,
            peer: vec![outcome(1 << 30, 1.0)],
            subject: vec![subject],
        };
        assert_eq!(row(outcome(2 << 30, 1.0)).passes(), Some(true));
        assert_eq!(row(outcome(2 << 30, 1.1)).passes(), Some(false));
        assert_eq!(row(outcome((2 << 30) - 1, 0.5)).passes(), Some(false));
    }
}
