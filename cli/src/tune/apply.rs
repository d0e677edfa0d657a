//! `towline tune apply`: the changes that the findings ask for, with a way back.
//!
//! Without `--yes` it shows the plan and asks; where nobody can answer it changes nothing. A change
//! that can drop the link is taken back by a process of its own unless it is confirmed in time.

use std::fmt::Write as _;
use std::io::{self, BufRead, IsTerminal};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use clap::Args;
use towline_tuning::persist::Outcome;
use towline_tuning::plan::Plan;
use towline_tuning::snapshot::Snapshot;
use towline_tuning::{Root, TuneError, apply, read};

use super::{FINDINGS, check, state};
use crate::failure::Failure;
use crate::output;

pub(crate) const EXAMPLES: &str = "\
Examples:
  towline tune apply --dry-run                  the plan for all errors and warnings
  towline tune apply nic.gro sys.tcp_rmem       these two, after a question
  towline tune apply --interface enp3s0 --yes   one link, without a question
  towline tune confirm                          keep a change that could drop the link

Exit codes: 0 done or nothing to do, 1 planned only, 2 could not run or put back.";

/// Options of `apply`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Ids of checks; all errors and warnings if left out.
    #[arg(value_name = "IDS")]
    ids: Vec<String>,
    #[command(flatten)]
    question: check::Question,
    #[command(flatten)]
    state: state::StateOptions,
    /// Change the running host only; a reboot undoes it.
    #[arg(long)]
    runtime_only: bool,
    /// Show the plan and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before changing.
    #[arg(long, short)]
    yes: bool,
    /// Also drop the link that carries your session or the default route.
    #[arg(long)]
    force: bool,
    /// Time in which a change that can drop a link must be confirmed, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60,
          value_parser = clap::value_parser!(u64).range(5..=3600))]
    confirm_within: u64,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let (store, lock, mut machine) = options.state.open()?;
    let facts = read::host(&Root::default(), Duration::ZERO)?;
    let report = check::judge(&options.question, &facts)?;
    let plan = Plan::of(&report, &facts, &mut machine, &options.ids, options.force)?;
    output::print(&describe(&plan))?;
    if plan.steps.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    if options.dry_run || !(options.yes || agreed()?) {
        output::print("nothing was changed\n")?;
        return Ok(ExitCode::from(FINDINGS));
    }
    let persist = !options.runtime_only;
    let time = Duration::from_secs(options.confirm_within);
    let arm = |snapshot: &Snapshot| guard(&options.state, snapshot);
    let snapshot = apply::apply(&store, &mut machine, &plan, persist, time, arm)?;
    let made = snapshot.items.len();
    if snapshot.confirm_until_s.is_some() {
        drop(lock);
        let seconds = options.confirm_within;
        output::print(&format!(
            "snapshot {}: {made} values changed and read back. Check that you still reach this \
             host, then run `towline tune confirm` within {seconds} s; without it everything is \
             put back\n",
            snapshot.name
        ))?;
        return Ok(ExitCode::SUCCESS);
    }
    let outcome = apply::keep(&store, &Root::default(), &snapshot)?;
    output::print(&format!(
        "snapshot {}: {made} values changed and read back; towline tune revert {} undoes it\n{}",
        snapshot.name,
        snapshot.name,
        kept(&outcome)
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// What was written where.
pub(super) fn kept(outcome: &Outcome) -> String {
    let files = outcome.files.iter().map(|file| format!("kept in {file}\n"));
    let notes = outcome.notes.iter().map(|note| format!("note: {note}\n"));
    files.chain(notes).collect()
}

fn describe(plan: &Plan) -> String {
    let mut text = String::new();
    for step in &plan.steps {
        let blip = if step.change.setting.drops_link() {
            ", may drop the link for a moment"
        } else {
            ""
        };
        let _ = writeln!(
            text,
            "{}: {} (now {}{blip})",
            step.id,
            step.change.command(),
            step.before
        );
    }
    for refused in &plan.refused {
        let _ = writeln!(
            text,
            "not done, {}: {}: {}",
            refused.id, refused.what, refused.why
        );
    }
    for hand in &plan.by_hand {
        let _ = writeln!(text, "by hand, {} ({}): {}", hand.id, hand.what, hand.why);
    }
    if plan.steps.is_empty() {
        text.push_str("nothing to change\n");
    }
    text
}

fn agreed() -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        output::print("nobody can answer here: say --yes to apply\n")?;
        return Ok(false);
    }
    output::print("apply? [y/N] ")?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

/// Starts the process that takes the snapshot back when nobody confirms it. It is in a group of
/// its own, so that it outlives a terminal that the change cuts off.
fn guard(state: &state::StateOptions, snapshot: &Snapshot) -> Result<(), TuneError> {
    let failed = |error| TuneError::system("the timer cannot be started", error);
    let program = std::env::current_exe().map_err(failed)?;
    Command::new(program)
        .args(["tune", "guard", "--state"])
        .arg(&state.folder)
        .arg(&snapshot.name)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map(drop)
        .map_err(failed)
}
