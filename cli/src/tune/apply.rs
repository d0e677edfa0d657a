//! `towline tune apply`: the changes that the findings ask for, with a way back.
//!
//! It shows the plan and wants the word `yes` typed, or `--yes`; where nobody can type it changes
//! nothing. A change that can drop the link is taken back by a process of its own unless it is
//! confirmed in time: that second word is `towline tune confirm`.

use std::io::{self, BufRead, IsTerminal};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use clap::Args;
use towline_tuning::pair::{self, Advice};
use towline_tuning::persist::{Outcome, Place};
use towline_tuning::plan::{Choice, Plan};
use towline_tuning::snapshot::Snapshot;
use towline_tuning::{Root, TuneError, apply};

use super::{FINDINGS, check, kept, plan, state};
use crate::failure::Failure;
use crate::output;

pub(crate) const EXAMPLES: &str = "\
Examples:
  towline tune apply --dry-run                  the plan for all errors and warnings
  towline tune apply nic.gro sys.tcp_rmem       these two, after a question
  towline tune apply --except sys.cc --yes      all but one, without a question
  towline tune apply link.mtu --peer 10.0.0.2   shows what the other end has to do, too
  towline tune confirm                          keep a change that could drop the link

Exit codes: 0 done or nothing to do, 1 planned only (--dry-run, or another word than yes) or in
force but not kept over a reboot, 2 could not run, or something did not hold and everything was
put back.";

/// Options of `apply`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Ids of checks; all errors and warnings if left out.
    #[arg(value_name = "IDS")]
    ids: Vec<String>,
    /// A check that is left out; may be given several times.
    #[arg(long, value_name = "ID")]
    except: Vec<String>,
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
    /// Do not ask before changing: in scripts, where nobody can type yes.
    #[arg(long, short)]
    yes: bool,
    /// Also drop the link that carries your session or the default route.
    #[arg(long)]
    force: bool,
    /// Time in which a change that can drop a link must be confirmed, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60,
          value_parser = clap::value_parser!(u64).range(5..=3600))]
    confirm_within: u64,
    /// Print plan and result as JSON; needs --yes or --dry-run.
    #[arg(long)]
    json: bool,
}

/// What was planned and done.
#[derive(serde::Serialize)]
struct Answer<'a> {
    plan: &'a Plan,
    other_end: &'a Advice,
    /// The snapshot, where something was changed.
    snapshot: Option<String>,
    /// Time to confirm in seconds, where a link can drop.
    confirm_within_s: Option<u64>,
    /// Where the values were written, once they may stay.
    kept: Option<Outcome>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    if options.json && !(options.yes || options.dry_run) {
        let why = "--json cannot ask: add --yes to change something, or --dry-run for the plan";
        return Err(Failure::usage(why));
    }
    let (store, lock, mut machine) = options.state.open()?;
    let facts = options.question.read(Duration::ZERO)?;
    let judged = check::judge(&options.question, &facts)?;
    let choice = Choice {
        ids: &options.ids,
        except: &options.except,
        force: options.force,
    };
    let plan = Plan::of(&judged.report, &facts, &mut machine, &choice)?;
    let other_end = pair::advice(&plan, &facts, judged.peer.as_ref());
    let mut answer = Answer {
        plan: &plan,
        other_end: &other_end,
        snapshot: None,
        confirm_within_s: None,
        kept: None,
    };
    if !options.json {
        output::print(&plan::told(&plan, &other_end, options.confirm_within))?;
    }
    if plan.steps.is_empty() {
        return end(options, &answer, ExitCode::SUCCESS);
    }
    if options.dry_run || !(options.yes || agreed(plan.steps.len())?) {
        if !options.json {
            output::print("nothing was changed\n")?;
        }
        return end(options, &answer, ExitCode::from(FINDINGS));
    }
    let time = Duration::from_secs(options.confirm_within);
    let arm = |snapshot: &Snapshot| guard(&options.state, snapshot);
    let persist = !options.runtime_only;
    let snapshot = apply::apply(&store, &mut machine, &plan, persist, time, arm)?;
    if snapshot.confirm_until_s.is_some() {
        drop(lock);
        answer.confirm_within_s = Some(options.confirm_within);
    } else {
        answer.kept = Some(apply::keep(&store, Place::at(&Root::default()), &snapshot)?);
    }
    answer.snapshot = Some(snapshot.name);
    let code = answer.kept.as_ref().map_or(ExitCode::SUCCESS, kept::code);
    end(options, &answer, code)
}

/// Tells what was done.
fn end(options: &Options, answer: &Answer<'_>, code: ExitCode) -> Result<ExitCode, Failure> {
    if options.json {
        output::json(answer)?;
        return Ok(code);
    }
    let Some(name) = &answer.snapshot else {
        return Ok(code);
    };
    let made = answer.plan.steps.len();
    let values = if made == 1 { "value" } else { "values" };
    let done = format!("snapshot {name}: {made} {values} changed and read back");
    let text = match (answer.confirm_within_s, &answer.kept) {
        (Some(seconds), _) => format!(
            "{done}.\n\nStill waiting for a word: check that you reach this host{}, then within \
             {seconds} s\n\n  towline tune confirm{}\n\nWithout it everything is put back.\n",
            if answer.other_end.steps.is_empty() {
                ""
            } else {
                " and do what the other end needs"
            },
            options.state.argument()
        ),
        (None, Some(outcome)) => format!(
            "{done}; `towline tune revert {name}{}` undoes it\n{}",
            options.state.argument(),
            kept::told(outcome)
        ),
        (None, None) => format!("{done}\n"),
    };
    let text = if options.runtime_only {
        text + "note: --runtime-only: a reboot undoes it too\n"
    } else {
        text
    };
    output::print(&text)?;
    Ok(code)
}

/// Whether the word was typed. A single letter is too easily hit for a change of the network.
fn agreed(changes: usize) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        let why = "nothing was changed: nobody can type yes here; add --yes to apply the plan \
                   above, or --dry-run to see it only";
        return Err(TuneError::usage(why).into());
    }
    let what = if changes == 1 {
        "this change"
    } else {
        "these changes"
    };
    output::print(&format!("\ntype yes to make {what}: "))?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim().eq_ignore_ascii_case("yes"))
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
