//! `towline bench save NAME VERB ...`: five or more runs of a measurement, kept under a name.
//!
//! The folder is `$XDG_STATE_HOME/towline/bench` or `~/.local/state/towline/bench`. What is saved
//! again replaces what was there.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use towline_bench::history::{Set, median_and_mad};
use towline_bench::html;
use towline_link::result::Report;

use super::goals::GoalOptions;
use super::outcome::{Form, FormOptions, event};
use super::repeat::{Measurement, Repeated};
use crate::failure::Failure;
use crate::{output, table};

pub(crate) const EXAMPLES: &str = "\
Examples:
  towline bench save before link 10.0.0.2 -t 5       five runs of five seconds
  towline bench save before --runs 9 link 10.0.0.2 -P 4
  towline bench save nfs --target share=9.4Gbps share nfs://10.0.0.2/models
  towline bench compare before                       the same again, after a change

Options of 'save' stand before the verb, those of the verb behind it.

Exit codes: 0 saved and every goal met, 1 saved but a goal missed, 2 could not run.";

/// Options of `save`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Under which name.
    name: String,
    #[command(flatten)]
    repeated: Repeated,
    #[command(flatten)]
    goals: GoalOptions,
    #[command(flatten)]
    form: FormOptions,
    /// What is measured: link, rr, share, disk or model, with its options.
    #[arg(value_name = "VERB ...", required = true, trailing_var_arg = true)]
    #[arg(allow_hyphen_values = true)]
    words: Vec<String>,
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
    let what = Measurement::parse(&options.words)?;
    let folder = options.repeated.folder()?;
    let mut set = Set::new(&options.name)?;
    set.words.clone_from(&options.words);
    set.runs = options.repeated.run(&what, Some(&options.goals), form)?;
    let path = set.save(&folder)?;
    options.form.write_page(|| html::set_page(&set))?;
    let text = match form {
        Form::Json => format!("{}\n", super::pretty(&set)?),
        Form::JsonStream => event("end", &json!(set)),
        Form::Csv => csv(&set),
        Form::Text => format!("{}saved as {}\n", medians(&set), path.display()),
    };
    output::print(&text)?;
    let missed = set.runs.iter().any(Report::misses_a_target);
    Ok(match missed {
        true => ExitCode::from(super::TARGET_MISSED),
        false => ExitCode::SUCCESS,
    })
}

/// All runs in one table, a head and then the rows of each.
fn csv(set: &Set) -> String {
    let texts = set.runs.iter().map(towline_bench::csv::of).enumerate();
    texts
        .flat_map(|(number, text)| {
            let rows = text.split_inclusive('\n').skip(usize::from(number > 0));
            rows.map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

fn medians(set: &Set) -> String {
    let Some(first) = set.runs.first() else {
        return String::new();
    };
    let row = |figure: &towline_link::result::Figure| {
        let (median, mad) = median_and_mad(&set.values(&figure.name));
        let show = |value| figure.unit.show(value);
        vec![figure.name.clone(), show(median), show(mad)]
    };
    let rows: Vec<Vec<String>> = first.figures.iter().map(row).collect();
    table::layout(&["FIGURE", "MEDIAN", "MAD"], &rows)
}
