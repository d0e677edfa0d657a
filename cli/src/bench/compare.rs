//! `towline bench compare NAME HOST`: runs the test again and says what became slower.
//!
//! A figure is worse only when its median moved by more than the threshold and by more than the
//! noise of both sets (three times the median absolute deviation).

use std::process::ExitCode;

use clap::Args;
use towline_bench::history::{Change, Set, compare};

use super::save::Repeated;
use crate::failure::Failure;
use crate::{output, table};

pub(crate) const EXAMPLES: &str = "\
Examples:
  towline bench save before 10.0.0.2 -t 5
  towline bench compare before 10.0.0.2 -t 5 --threshold 5%
  towline bench compare before --with after              two saved sets, nothing is run

Exit codes: 0 nothing is worse, 2 could not run, 3 something is worse.";

/// Options of `compare`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The saved set.
    name: String,
    /// A second saved set instead of new runs; HOST is not needed then.
    #[arg(long, value_name = "NAME")]
    with: Option<String>,
    /// By how much a figure may be worse.
    #[arg(long, value_name = "P", default_value = "5%", value_parser = share)]
    threshold: f64,
    #[command(flatten)]
    repeated: Repeated,
    /// Print the changes as JSON.
    #[arg(long)]
    json: bool,
}

/// `5%` or `0.05`.
fn share(text: &str) -> Result<f64, String> {
    let (number, divisor) = match text.strip_suffix('%') {
        Some(number) => (number, 100.0),
        None => (text, 1.0),
    };
    let number: Option<f64> = number.trim().parse().ok();
    let share = number.map(|number| number / divisor);
    let share = share.filter(|share| (0.0..=10.0).contains(share));
    share.ok_or_else(|| "write a share such as 5%".to_owned())
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let folder = options.repeated.folder()?;
    let saved = Set::load(&folder, &options.name)?;
    let now = match &options.with {
        Some(name) => Set::load(&folder, name)?,
        None => {
            let mut set = Set::new("now")?;
            set.runs = options.repeated.run(None, options.json)?;
            set
        }
    };
    let changes = compare(&saved, &now, options.threshold)?;
    let worse = changes.iter().filter(|change| change.is_regression).count();
    if options.json {
        let text = serde_json::to_string_pretty(&changes)
            .map_err(|error| Failure::Internal(error.to_string()))?;
        output::print(&format!("{text}\n"))?;
    } else {
        let verdict = match worse {
            0 => "nothing is worse beyond threshold and noise".to_owned(),
            count => format!("{count} worse"),
        };
        output::print(&format!("{}{verdict}\n", show(&changes)))?;
    }
    Ok(match worse {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(super::REGRESSION),
    })
}

fn show(changes: &[Change]) -> String {
    let row = |change: &Change| {
        let with_noise = |value: f64, mad: f64| {
            format!("{} +-{}", change.unit.show(value), change.unit.show(mad))
        };
        let word = match (change.is_regression, change.worse_percent) {
            (true, _) => "WORSE",
            (false, percent) if percent < 0.0 => "better or same",
            (false, _) => "within noise",
        };
        vec![
            change.name.clone(),
            with_noise(change.saved, change.saved_mad),
            with_noise(change.now, change.now_mad),
            format!("{:+.1} %", change.worse_percent),
            word.to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = changes.iter().map(row).collect();
    table::layout(&["FIGURE", "SAVED", "NOW", "WORSE BY", ""], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_a_share_or_percent() {
        assert_eq!(share("5%"), Ok(0.05));
        assert_eq!(share("0.1"), Ok(0.1));
        assert!(share("-1%").is_err() && share("x").is_err());
    }
}
