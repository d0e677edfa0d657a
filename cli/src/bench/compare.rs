//! `towline bench compare NAME`: measures again what was saved and says what became slower.
//!
//! A figure is worse only when its median moved by more than the threshold and by more than the
//! noise of both sets (three times the median absolute deviation).

use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use towline_bench::history::{self, Change, Set, compare};
use towline_bench::html;

use super::outcome::{Form, FormOptions, event};
use super::repeat::{Measurement, Repeated};
use crate::failure::Failure;
use crate::{output, table};

pub(crate) const EXAMPLES: &str = "\
Examples:
  towline bench save before link 10.0.0.2 -t 5
  towline bench compare before --threshold 5%            the same again
  towline bench compare before link 10.0.0.3 -t 5        another host in the same way
  towline bench compare before --with after              two saved sets, nothing is run
  towline bench compare before --html change.html        every run as a dot

Exit codes: 0 nothing is worse, 2 could not run, 3 something is worse.";

/// Options of `compare`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The saved set.
    name: String,
    /// A second saved set instead of new runs.
    #[arg(long, value_name = "NAME", conflicts_with = "words")]
    with: Option<String>,
    /// By how much a figure may be worse.
    #[arg(long, value_name = "P", default_value = "5%", value_parser = share)]
    threshold: f64,
    #[command(flatten)]
    repeated: Repeated,
    #[command(flatten)]
    form: FormOptions,
    /// What is measured [default: what was saved]
    #[arg(
        value_name = "VERB ...",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    words: Vec<String>,
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

impl Options {
    /// How results are told.
    pub(super) fn form(&self) -> Form {
        self.form.form()
    }
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let form = options.form.form();
    options.form.check()?;
    let folder = options.repeated.folder()?;
    let saved = Set::load(&folder, &options.name)?;
    let now = match &options.with {
        Some(name) => Set::load(&folder, name)?,
        None => again(options, &saved)?,
    };
    let changes = compare(&saved, &now, options.threshold)?;
    options
        .form
        .write_page(|| html::comparison_page(&saved, &now, &changes))?;
    let worse = changes.iter().filter(|change| change.is_regression).count();
    let text = match form {
        Form::Json => format!("{}\n", super::pretty(&changes)?),
        Form::JsonStream => event("end", &json!(changes)),
        Form::Csv => history::csv(&changes),
        Form::Text => {
            let verdict = match worse {
                0 => "nothing is worse beyond threshold and noise".to_owned(),
                count => format!("{count} worse"),
            };
            format!("{}{verdict}\n", show(&changes))
        }
    };
    output::print(&text)?;
    Ok(match worse {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(super::REGRESSION),
    })
}

/// Measures what was named, or else what was saved.
fn again(options: &Options, saved: &Set) -> Result<Set, Failure> {
    let words = match options.words.is_empty() {
        true => &saved.words,
        false => &options.words,
    };
    if words.is_empty() {
        let text = format!(
            "{} does not say what was measured: name it, such as 'towline bench compare {} link \
             10.0.0.2'",
            options.name, options.name
        );
        return Err(Failure::usage(text));
    }
    let what = Measurement::parse(words)?;
    let mut set = Set::new("now")?;
    set.words.clone_from(words);
    set.runs = options.repeated.run(&what, None, options.form.form())?;
    Ok(set)
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
