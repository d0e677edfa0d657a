//! Reports as one page: HTML with inline SVG and style, no script, nothing loaded from elsewhere.
//!
//! Made from [`Report`] alone. Invariant: every word that came from outside is escaped, numbers are
//! finite before they become coordinates, and the page says so where something was not measured by
//! leaving it out. Light and dark follow the reader's system. Not promised: a layout for paper.

mod mesh;
mod plot;
mod sets;
mod style;

pub use mesh::mesh_page;
use plot::{Bar, Line, Scale, bars, columns, lines, small_lines};
pub use sets::{comparison_page, set_page};
use towline_link::result::{Report, Sample, SideCpu, Unit};

/// Most figures that are shown large.
const HEADLINES: usize = 4;
/// Most lines in one plot; of more each gets a small plot of its own.
const LINES_MAX: usize = 4;

/// Text that cannot become markup.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(letter),
        }
    }
    safe
}

/// The page of these reports.
#[must_use]
pub fn page(reports: &[Report]) -> String {
    let title = match reports.first() {
        Some(report) => format!("{} of {}", kind(report), report.subject),
        None => "nothing was measured".to_owned(),
    };
    let mut body = String::new();
    for report in reports {
        body.push_str(&section(report));
    }
    document(&title, &body)
}

/// A whole page around its body, which is markup already.
fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{}</title>\n<style>{}</style></head>\n\
         <body><main>\n{body}<footer>towline {}</footer></main></body></html>\n",
        escaped(title),
        style::STYLE,
        env!("CARGO_PKG_VERSION")
    )
}

fn kind(report: &Report) -> &'static str {
    use towline_link::result::Kind;
    match report.kind {
        Kind::Link => "Link",
        Kind::RequestResponse => "Round trips",
        Kind::Mesh => "Mesh",
        Kind::Share => "Share",
        Kind::Model => "Loading",
        Kind::Disk => "Disk",
    }
}

fn section(report: &Report) -> String {
    let begun = std::time::UNIX_EPOCH + std::time::Duration::from_secs(report.started_s);
    let mut text = format!(
        "<header><p class=\"kind\">{}</p><h1>{}</h1><p class=\"when\">{}</p></header>\n",
        kind(report),
        escaped(&report.subject),
        httpdate::fmt_http_date(begun)
    );
    text.push_str(&headlines(report));
    text.push_str(&verdict(report));
    text.push_str(&goals(report));
    text.push_str(&over_time(report));
    text.push_str(&latencies(report));
    text.push_str(&processors(report));
    text.push_str(&figures(report));
    text.push_str(&footnotes(report));
    text
}

fn headlines(report: &Report) -> String {
    let main = report.figures.iter();
    let main = main.filter(|figure| !figure.name.ends_with("_p99"));
    let shown = main.take(HEADLINES);
    let tile = |figure: &towline_link::result::Figure| {
        let value = figure.show();
        let (number, unit) = value.split_once(' ').unwrap_or((&value, ""));
        format!(
            "<div class=\"tile\"><b>{number}</b> <i>{}</i><span>{}</span></div>",
            escaped(unit),
            escaped(&words(&figure.name))
        )
    };
    format!(
        "<section class=\"tiles\">{}</section>\n",
        shown.map(tile).collect::<String>()
    )
}

/// `rand_4k_depth_8` as `rand 4k depth 8`.
fn words(name: &str) -> String {
    name.replace('_', " ")
}

fn verdict(report: &Report) -> String {
    let Some(verdict) = &report.verdict else {
        return String::new();
    };
    let evidence = verdict.evidence.iter();
    let evidence: String = evidence
        .map(|one| format!("<li>{}</li>", escaped(&one.says)))
        .collect();
    format!(
        "<section class=\"verdict\"><h2>{}</h2><p>{}</p><p class=\"advice\">{}</p>\
         <ul>{evidence}</ul></section>\n",
        escaped(verdict.limit.word()),
        escaped(&verdict.cause),
        escaped(&verdict.advice)
    )
}

fn goals(report: &Report) -> String {
    if report.targets.is_empty() {
        return String::new();
    }
    let row = |outcome: &towline_link::result::TargetOutcome| {
        let class = if outcome.met { "met" } else { "missed" };
        format!("<li class=\"{class}\">{}</li>", escaped(&outcome.line()))
    };
    let rows: String = report.targets.iter().map(row).collect();
    format!("<section><h2>Goals</h2><ul class=\"goals\">{rows}</ul></section>\n")
}

/// A line of each series that has several samples.
fn lines_of(report: &Report, value: impl Fn(&Sample) -> Option<f64>) -> Vec<Line> {
    let moving = report.series.iter().filter(|one| one.samples.len() >= 2);
    let line = |series: &towline_link::result::Series| Line {
        name: series.name.clone(),
        steps: series
            .samples
            .iter()
            .filter_map(|one| Some((one.start_s, one.end_s, value(one)?)))
            .collect(),
    };
    let drawn = moving.map(line).filter(|line| line.steps.len() >= 2);
    drawn.collect()
}

fn over_time(report: &Report) -> String {
    let mut rates = lines_of(report, |one| Some(one.bits_per_second()));
    rates.retain(|line| line.steps.iter().any(|step| step.2 > 0.0));
    let mut text = String::new();
    if rates.len() > LINES_MAX {
        text.push_str(&format!(
            "<section><h2>Throughput over time</h2><p class=\"hint\">Each way of reading on one \
             scale; the words tell its mean.</p><div class=\"grid\">{}</div></section>\n",
            small_lines(&rates, Unit::BitsPerSecond)
        ));
    } else if !rates.is_empty() {
        let drawn = lines(&rates, Unit::BitsPerSecond, Scale::FromZero);
        text.push_str(&format!(
            "<section><h2>Throughput over time</h2>{drawn}</section>\n"
        ));
    }
    let mut cores = lines_of(report, |one| one.busiest_core_percent);
    // Both directions of a link saw the same cores; many ways of reading have bars of their own.
    cores.dedup_by(|a, b| a.steps == b.steps);
    if let [only] = cores.as_mut_slice() {
        only.name = "busiest core of this host".to_owned();
    }
    if !cores.is_empty() && cores.len() <= LINES_MAX {
        let drawn = lines(&cores, Unit::Percent, Scale::Percent);
        text.push_str(&format!(
            "<section><h2>Busiest core over time</h2>{drawn}</section>\n"
        ));
    }
    text
}

fn latencies(report: &Report) -> String {
    if report.latencies.is_empty() {
        return String::new();
    }
    let boxes: String = report
        .latencies
        .iter()
        .map(|latency| {
            let beyond = match latency.supports(0.999) {
                true => format!(" · p99.9 {}", Unit::Seconds.show(latency.p999_s)),
                false => String::new(),
            };
            format!(
                "<figure>{}<figcaption><b>{}</b><br>p50 {} · p99 {}{beyond} · most {} \
                 <span>({} times, {})</span></figcaption></figure>",
                columns(latency),
                escaped(&words(&latency.name)),
                Unit::Seconds.show(latency.p50_s),
                Unit::Seconds.show(latency.p99_s),
                Unit::Seconds.show(latency.max_s),
                latency.count,
                escaped(&latency.source)
            )
        })
        .collect();
    format!(
        "<section><h2>Latency</h2><p class=\"hint\">How often each time occurred; times grow by \
         tens to the right, the line is the median.</p>\
         <div class=\"grid\">{boxes}</div></section>\n"
    )
}

fn processors(report: &Report) -> String {
    let many = report.cpu.len() > 2;
    let rows = |side: &SideCpu| -> Vec<Bar> {
        let name = side.side.trim_start_matches("this host, ");
        let busiest = side.busiest().map(|core| core.busy);
        if many {
            // Many ways of reading: the process before the busiest core of each.
            let share = side.process.or(busiest);
            let bar = |share| Bar {
                name: words(name),
                share,
                behind: busiest,
            };
            return share.map(bar).into_iter().collect();
        }
        let bar = |name: String, share| Bar {
            name,
            share,
            behind: None,
        };
        let process = side.process;
        let process = process.map(|share| bar(format!("{name}: this process"), share));
        let cores = side.cores.iter();
        let cores = cores.map(|core| bar(format!("{name}: core {}", core.core), core.busy));
        process.into_iter().chain(cores).collect()
    };
    let rows: Vec<Bar> = report.cpu.iter().flat_map(rows).collect();
    let hint = match many {
        true => "Percent of one core: this process, and in grey the busiest core of this host.",
        false => "Percent of one core.",
    };
    match rows.is_empty() {
        true => String::new(),
        false => format!(
            "<section><h2>Processor</h2><p class=\"hint\">{hint}</p>{}</section>\n",
            bars(&rows)
        ),
    }
}

fn figures(report: &Report) -> String {
    let row = |figure: &towline_link::result::Figure| {
        let name = escaped(&words(&figure.name));
        format!(
            "<tr><td>{name}</td><td>{}</td></tr>",
            escaped(&figure.show())
        )
    };
    let rows: String = report.figures.iter().map(row).collect();
    format!("<section><h2>All figures</h2><table>{rows}</table></section>\n")
}

fn footnotes(report: &Report) -> String {
    let notes: String = report
        .notes
        .iter()
        .map(|note| format!("<li>{}</li>", escaped(note)))
        .collect();
    let options: String = report
        .options
        .iter()
        .map(|(name, value)| format!("<li>{} = {}</li>", escaped(&words(name)), escaped(value)))
        .collect();
    if notes.is_empty() && options.is_empty() {
        return String::new();
    }
    format!(
        "<section class=\"notes\"><h2>How to read this</h2><ul>{notes}</ul><h2>How it was \
         done</h2><ul>{options}</ul></section>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use towline_link::result::{Better, Kind, Series};

    #[test]
    fn words_from_outside_are_no_markup_and_nothing_is_loaded() {
        let mut report = Report::new(Kind::Share, "<script>alert('1')</script>", 0);
        report.put("share", f64::NAN, Unit::BitsPerSecond, Better::Higher);
        report.notes.push("a & b <img src=x>".to_owned());
        report.series.push(Series {
            name: "\"x".to_owned(),
            samples: vec![Sample::default(); 3],
        });
        let text = page(&[report]);
        assert!(
            !text.contains("<script") && !text.contains("<img"),
            "{text}"
        );
        assert!(
            !text.contains("http://") && !text.contains("https://"),
            "{text}"
        );
    }

    #[test]
    fn every_tag_that_opens_closes() {
        let mut report = Report::new(Kind::Link, "10.0.0.2", 1_700_000_000);
        report.series.push(Series {
            name: "sent".to_owned(),
            samples: (0..5)
                .map(|at| Sample {
                    start_s: f64::from(at),
                    end_s: f64::from(at + 1),
                    bytes: 1_000_000 * u64::from(at as u32),
                    busiest_core_percent: Some(50.0),
                    ..Sample::default()
                })
                .collect(),
        });
        let text = page(&[report]);
        for tag in ["svg", "section", "div", "ul", "table", "g", "text"] {
            let opened = text.matches(&format!("<{tag}>")).count()
                + text.matches(&format!("<{tag} ")).count();
            let closed = text.matches(&format!("</{tag}>")).count();
            assert_eq!(opened, closed, "{tag}");
        }
        assert!(text.contains("<polyline"));
    }
}
