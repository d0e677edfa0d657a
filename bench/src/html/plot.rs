//! Lines over time, distributions and bars as SVG and HTML.
//!
//! Invariant: what is not finite is left out, a plot without points is empty text, and an axis ends
//! at a round number above its largest value, so no line leaves its box.

use std::fmt::Write;

use super::escaped;
use crate::history::median_and_mad;
use towline_link::result::{Latency, Unit};

/// Width of a wide plot in its own units; the page scales it.
const WIDTH: f64 = 960.0;
/// Its height.
const HEIGHT: f64 = 260.0;
/// Room for the words of the upright axis.
const LEFT: f64 = 84.0;
/// Room for the words of the flat axis.
const BOTTOM: f64 = 26.0;
/// Room above.
const TOP: f64 = 10.0;
/// Columns of a distribution.
const COLUMNS: usize = 48;

/// One line of a plot.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// What the legend calls it.
    pub(super) name: String,
    /// Begin and end in seconds, and the value between them.
    pub(super) steps: Vec<(f64, f64, f64)>,
}

impl Line {
    fn finite(&self) -> impl Iterator<Item = (f64, f64, f64)> {
        let steps = self.steps.iter().copied();
        steps.filter(|(start, end, value)| (start + end + value).is_finite())
    }

    /// When it ends, in seconds.
    fn end(&self) -> f64 {
        self.finite().map(|step| step.1).fold(0.0, f64::max)
    }

    /// Its largest value.
    fn most(&self) -> f64 {
        self.finite().map(|step| step.2).fold(0.0, f64::max)
    }

    /// The points of its polyline.
    fn points(&self, x: &dyn Fn(f64) -> f64, y: &dyn Fn(f64) -> f64) -> String {
        let mut points = String::new();
        for (start, end, value) in self.finite() {
            let (from, to, at) = (x(start.max(0.0)), x(end), y(value));
            // Writing to a String cannot fail, here and below.
            let _ = write!(points, "{from:.1},{at:.1} {to:.1},{at:.1} ");
        }
        points.truncate(points.trim_end().len());
        points
    }
}

/// One bar, in percent.
#[derive(Clone, Debug)]
pub(super) struct Bar {
    /// What stands before it.
    pub(super) name: String,
    /// How far it reaches.
    pub(super) share: f64,
    /// How far a fainter one behind it reaches.
    pub(super) behind: Option<f64>,
}

/// Where the upright axis ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Scale {
    /// From zero to a round number above all.
    FromZero,
    /// From 0 to 100.
    Percent,
}

/// The next of 1, 2, 2.5, 5, 10 times a power of ten.
fn round_up(value: f64) -> f64 {
    if !value.is_finite() || value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * power);
    let fits = steps.into_iter().find(|step| *step >= value * 0.999);
    fits.unwrap_or(10.0 * power)
}

/// Lines over seconds.
pub(super) fn lines(all: &[Line], unit: Unit, scale: Scale) -> String {
    let end = all.iter().map(Line::end).fold(0.0, f64::max);
    let most = all.iter().map(Line::most).fold(0.0, f64::max);
    let most = match scale {
        Scale::FromZero => round_up(most),
        Scale::Percent => 100.0,
    };
    if end <= 0.0 {
        return String::new();
    }
    let x = |second: f64| LEFT + (WIDTH - LEFT - 12.0) * second / end;
    let y = |value: f64| TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - (value / most).clamp(0.0, 1.0));
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">");
    for step in 0..=4 {
        let value = most * f64::from(step) / 4.0;
        let (at, right) = (y(value), WIDTH - 12.0);
        let words = match scale {
            Scale::Percent => format!("{value:.0} %"),
            Scale::FromZero if step == 0 => "0".to_owned(),
            Scale::FromZero => unit.show(value),
        };
        let _ = write!(
            svg,
            "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            at + 4.0,
            escaped(&words)
        );
    }
    for step in 0..=5 {
        let second = end * f64::from(step) / 5.0;
        let places = if end < 2.0 { 2 } else { 1 };
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{second:.places$} s</text>",
            x(second).min(WIDTH - 24.0),
            HEIGHT - 6.0
        );
    }
    let mut legend = String::new();
    strokes(all, &x, &y, &mut svg, &mut legend);
    format!("{svg}</svg><p class=\"legend\">{legend}</p>")
}

/// The lines themselves and their names.
fn strokes(
    all: &[Line],
    x: &dyn Fn(f64) -> f64,
    y: &dyn Fn(f64) -> f64,
    svg: &mut String,
    legend: &mut String,
) {
    for (index, line) in all.iter().enumerate() {
        let _ = write!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"var(--c{})\" stroke-width=\"2\" \
             stroke-linejoin=\"round\"/>",
            line.points(x, y),
            index % 8
        );
        let _ = write!(
            legend,
            "<span><i style=\"background:var(--c{})\"></i>{}</span>",
            index % 8,
            escaped(&line.name)
        );
    }
}

/// Lines over seconds, each in a small plot of its own, all on one upright scale.
pub(super) fn small_lines(all: &[Line], unit: Unit) -> String {
    const WIDE: f64 = 290.0;
    const BASE: f64 = 64.0;
    let most = round_up(all.iter().map(Line::most).fold(0.0, f64::max));
    let plot = |line: &Line| {
        let end = line.end().max(1e-9);
        let x = |second: f64| WIDE * (second / end).clamp(0.0, 1.0);
        let y = |value: f64| 3.0 + (BASE - 3.0) * (1.0 - (value / most).clamp(0.0, 1.0));
        let moved: f64 = line
            .finite()
            .map(|(start, end, value)| (end - start) * value)
            .sum();
        format!(
            "<figure><svg viewBox=\"0 0 {WIDE} 66\" role=\"img\"><line class=\"axis\" x1=\"0\" \
             x2=\"{WIDE}\" y1=\"{BASE}\" y2=\"{BASE}\"/><polyline points=\"{}\" fill=\"none\" \
             stroke=\"var(--mark)\" stroke-width=\"2\"/></svg><figcaption><b>{}</b><br>{} \
             <span>over {}</span></figcaption></figure>",
            line.points(&x, &y),
            escaped(&line.name),
            escaped(&unit.show(moved / end)),
            escaped(&Unit::Seconds.show(end))
        )
    };
    all.iter().map(plot).collect()
}

/// A distribution over logarithmic time, with its median.
pub(super) fn columns(latency: &Latency) -> String {
    let first = latency.min_s.max(1e-9).log10().floor();
    let last = latency.max_s.max(2e-9).log10().ceil().max(first + 1.0);
    let (width, height, base) = (290.0, 110.0, 92.0);
    let x = |second: f64| {
        let share = (second.max(1e-9).log10() - first) / (last - first);
        share.clamp(0.0, 1.0) * width
    };
    let mut counts = [0_u64; COLUMNS];
    for (second, count) in &latency.buckets {
        let at = (x(*second) / width * COLUMNS as f64) as usize;
        if let Some(column) = counts.get_mut(at.min(COLUMNS - 1)) {
            *column += count;
        }
    }
    let most = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    let each = width / COLUMNS as f64;
    let mut svg = format!("<svg viewBox=\"0 0 {width} {height}\" role=\"img\">");
    for (index, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        // Square roots keep the rare slow ones visible.
        let tall = ((*count as f64 / most).sqrt() * (base - 8.0)).max(1.5);
        let _ = write!(
            svg,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall:.1}\" \
             fill=\"var(--mark)\" rx=\"1\"/>",
            index as f64 * each,
            base - tall,
            each - 1.0
        );
    }
    let median = x(latency.p50_s);
    let _ = write!(
        svg,
        "<line class=\"axis\" x1=\"0\" x2=\"{width}\" y1=\"{base}\" y2=\"{base}\"/>\
         <line x1=\"{median:.1}\" x2=\"{median:.1}\" y1=\"2\" y2=\"{base}\" stroke=\"var(--c1)\" \
         stroke-dasharray=\"3 2\"/>"
    );
    // Room for four words: of more decades only every second or third is named.
    let stride = ((last - first) / 4.0).ceil().max(1.0);
    let mut power = first;
    while power <= last {
        let at = x(10_f64.powf(power));
        let anchor = match power {
            edge if edge == first => "start",
            edge if edge == last => "end",
            _ => "middle",
        };
        let _ = write!(
            svg,
            "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
            height - 3.0,
            power_of_ten(power)
        );
        power += stride;
    }
    svg.push_str("</svg>");
    svg
}

/// `-5` as `10 us`.
fn power_of_ten(power: f64) -> String {
    let (scale, unit) = match power {
        low if low < -6.0 => (9.0, "ns"),
        low if low < -3.0 => (6.0, "us"),
        low if low < 0.0 => (3.0, "ms"),
        _ => (0.0, "s"),
    };
    format!("{:.0} {unit}", 10_f64.powf(power + scale))
}

/// Sets of runs, one below the other on one scale: a dot for each run, a line at the median.
pub(super) fn strip(sets: &[&[f64]]) -> String {
    const WIDE: f64 = 260.0;
    const TALL: f64 = 16.0;
    let all = || {
        sets.iter()
            .copied()
            .flatten()
            .filter(|value| value.is_finite())
    };
    let least = all().copied().fold(f64::INFINITY, f64::min);
    let most = all().copied().fold(f64::NEG_INFINITY, f64::max);
    // Runs that are all alike stand in the middle.
    let x = |value: f64| match most > least {
        true => 6.0 + (WIDE - 12.0) * (value - least) / (most - least),
        false => WIDE / 2.0,
    };
    let height = TALL * sets.len() as f64;
    let mut svg = format!("<svg viewBox=\"0 0 {WIDE} {height}\" role=\"img\">");
    for (index, values) in sets.iter().enumerate() {
        let middle = TALL * (index as f64 + 0.5);
        let finite: Vec<f64> = values
            .iter()
            .copied()
            .filter(|one| one.is_finite())
            .collect();
        let _ = write!(
            svg,
            "<line class=\"axis\" x1=\"0\" x2=\"{WIDE}\" y1=\"{middle}\" y2=\"{middle}\"/>"
        );
        for value in &finite {
            let _ = write!(
                svg,
                "<circle cx=\"{:.1}\" cy=\"{middle}\" r=\"3.5\" fill=\"var(--c{index})\" \
                 fill-opacity=\"0.55\"/>",
                x(*value)
            );
        }
        if !finite.is_empty() {
            let at = x(median_and_mad(&finite).0);
            let (top, bottom) = (middle - 7.0, middle + 7.0);
            let _ = write!(
                svg,
                "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{top}\" y2=\"{bottom}\" \
                 stroke=\"var(--c{index})\" stroke-width=\"2\"/>"
            );
        }
    }
    svg.push_str("</svg>");
    svg
}

/// Percent of cores; two busy cores are 200, and fill their bar twice over.
pub(super) fn bars(all: &[Bar]) -> String {
    let finite = || all.iter().filter(|bar| bar.share.is_finite());
    let most = finite()
        .map(|bar| bar.share.max(bar.behind.unwrap_or(0.0)))
        .fold(100.0_f64, f64::max);
    let wide = |share: f64| (100.0 * share / most).clamp(0.0, 100.0);
    let row = |bar: &Bar| {
        let behind = bar.behind.map_or(String::new(), |share| {
            format!(
                "<i class=\"behind\" style=\"width:{:.1}%\"></i>",
                wide(share)
            )
        });
        format!(
            "<span>{}</span><div>{behind}<i style=\"width:{:.1}%\"></i></div><b>{:.0} %</b>",
            escaped(&bar.name),
            wide(bar.share),
            bar.share
        )
    };
    let rows: String = finite().map(row).collect();
    format!("<div class=\"bars\">{rows}</div>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_under_a_distribution_have_room() {
        let mut recorder = towline_link::result::latency::Recorder::default();
        for micros in [1, 100, 10_000, 900_000] {
            recorder.record(std::time::Duration::from_micros(micros));
        }
        let drawn = columns(&recorder.finish("x", "y").unwrap());
        let words = drawn.matches("<text").count();
        assert!((3..=5).contains(&words), "{drawn}");
    }

    #[test]
    fn axes_end_at_round_numbers() {
        for (value, end) in [(0.0, 1.0), (0.9, 1.0), (1.1, 2.0), (2.2, 2.5), (941e6, 1e9)] {
            assert_eq!(round_up(value), end, "{value}");
        }
        assert_eq!(round_up(f64::NAN), 1.0);
        assert_eq!(power_of_ten(-5.0), "10 us");
        assert_eq!(power_of_ten(-1.0), "100 ms");
        assert_eq!(power_of_ten(0.0), "1 s");
    }
}
