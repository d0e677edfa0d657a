//! A plan in words: what is done, in which order, what is not, and what the other end must do.
//!
//! Invariant: everything that `apply` will change is in it, and whatever can drop the link says so
//! beforehand.

use std::fmt::Write as _;

use towline_tuning::pair::Advice;
use towline_tuning::plan::{Plan, Refused};

use super::wrap;

/// The plan and what goes with it.
pub(super) fn told(plan: &Plan, other_end: &Advice, confirm_within: u64) -> String {
    let mut text = String::new();
    if plan.steps.is_empty() {
        text.push_str("nothing to change\n");
    } else {
        text.push_str("The plan, in this order:\n");
    }
    for (step, number) in plan.steps.iter().zip(1..) {
        let drops = step.change.setting.drops_link();
        let _ = writeln!(
            text,
            "  {number}. {}: {}\n     now {}{}",
            step.id,
            step.change.command(),
            step.before,
            if drops {
                "; may drop the link for a moment"
            } else {
                ""
            }
        );
    }
    left_out(&mut text, "Not done", &plan.refused);
    left_out(&mut text, "By hand", &plan.by_hand);
    for warning in &other_end.warnings {
        text.push('\n');
        wrap::put(&mut text, "warning: ", warning);
    }
    if !other_end.steps.is_empty() {
        text.push_str("\nBoth ends belong together, in this order:\n");
    }
    for (step, number) in other_end.steps.iter().zip(1..) {
        wrap::put(&mut text, &format!("  {number}. "), step);
    }
    if plan.drops_link() {
        let why = format!(
            "As a link may drop, all of it is put back by itself unless `towline tune confirm` \
             comes within {confirm_within} s."
        );
        text.push('\n');
        wrap::put(&mut text, "", &why);
    }
    text
}

fn left_out(text: &mut String, title: &str, list: &[Refused]) {
    if !list.is_empty() {
        let _ = writeln!(text, "{title}:");
    }
    for one in list {
        let line = format!("{} ({}): {}", one.id, one.what, one.why);
        wrap::put(text, "  ", &line);
    }
}
