//! What `apply` would do: the fixes of a report, each with the value before.
//!
//! Invariant: a setting appears once; changes that drop the link come last and one link at a time,
//! with lower devices before upper ones when an MTU rises; a link that carries the operator's
//! session or the default route is not touched in that way unless forced.

use crate::change::{Change, Setting};
use crate::error::TuneError;
use crate::facts::HostFacts;
use crate::machine::Machine;
use crate::report::Report;
use crate::verdict::Severity;

/// One step.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Step {
    /// The check that asked for it.
    pub id: String,
    /// What is changed, and to what.
    pub change: Change,
    /// The value now.
    pub before: String,
}

/// A step that is not taken.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Refused {
    /// The check that asked for it.
    pub id: String,
    /// What would be changed.
    pub what: String,
    /// Why it is not.
    pub why: String,
}

/// Which failed checks are to be repaired.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choice<'a> {
    /// These; all errors and warnings where none is named.
    pub ids: &'a [String],
    /// But not these.
    pub except: &'a [String],
    /// Also what drops the link of the operator's session or of the default route.
    pub force: bool,
}

/// All steps, in the order in which they are taken.
#[derive(Clone, Debug, Default, Eq, PartialEq, serde::Serialize)]
pub struct Plan {
    /// What is done.
    pub steps: Vec<Step>,
    /// What is not.
    pub refused: Vec<Refused>,
    /// What a person has to do.
    pub by_hand: Vec<Refused>,
}

impl Plan {
    /// Whether a step can drop a link, so that the whole must be confirmed.
    #[must_use]
    pub fn drops_link(&self) -> bool {
        let mut settings = self.steps.iter().map(|step| &step.change.setting);
        settings.any(Setting::drops_link)
    }

    /// The plan for the failed checks of a report that were chosen.
    ///
    /// # Errors
    /// When an id is named that is not in the report.
    pub fn of(
        report: &Report,
        facts: &HostFacts,
        machine: &mut Machine,
        choice: &Choice<'_>,
    ) -> Result<Self, TuneError> {
        let Choice { ids, except, force } = *choice;
        for id in ids.iter().chain(except) {
            if !report.checks.iter().any(|check| check.id == *id) {
                return Err(TuneError::usage(format!(
                    "no check {id}; `towline tune check --verbose` shows all ids"
                )));
            }
        }
        let guarded = guarded(facts);
        let mut plan = Self::default();
        for check in report.failures() {
            let asked = ids.contains(&check.id);
            let wanted = asked || ids.is_empty() && check.severity > Severity::Information;
            if !wanted || except.contains(&check.id) {
                continue;
            }
            let mut changed = false;
            for change in check.fixes.iter().filter_map(|fix| fix.change.as_ref()) {
                changed = true;
                plan.add(
                    &check.id,
                    change,
                    machine,
                    (!force).then_some(guarded.as_slice()),
                );
            }
            if let (false, Some(fix)) = (changed, check.fixes.first()) {
                plan.by_hand.push(Refused {
                    id: check.id.clone(),
                    what: check.subject.clone(),
                    why: fix.text.clone(),
                });
            }
        }
        plan.steps.sort_by_key(|step| order(facts, &step.change));
        Ok(plan)
    }

    fn add(
        &mut self,
        id: &str,
        change: &Change,
        machine: &mut Machine,
        guarded: Option<&[String]>,
    ) {
        let known = |step: &Step| step.change.setting == change.setting;
        if self.steps.iter().any(known) {
            return;
        }
        let mut refuse = |why: String| {
            self.refused.push(Refused {
                id: id.to_owned(),
                what: change.command(),
                why,
            });
        };
        let link = change.setting.link().unwrap_or("");
        let theirs = guarded.is_some_and(|links| links.iter().any(|name| name == link));
        if change.setting.drops_link() && theirs {
            let why = "carries your session or the default route, and this drops it for a moment";
            return refuse(format!("{link} {why}; --force does it all the same"));
        }
        match machine.read(&change.setting) {
            Ok(before) if before == change.value => {}
            Ok(_) if let Err(error) = machine.can_write(change) => {
                refuse(format!("cannot be written: {error}"));
            }
            Ok(before) => self.steps.push(Step {
                id: id.to_owned(),
                change: change.clone(),
                before,
            }),
            Err(error) => refuse(format!("cannot be read: {error}")),
        }
    }
}

/// Links that carry the operator's session or a default route, with all below them.
fn guarded(facts: &HostFacts) -> Vec<String> {
    let tops = facts.default_links.iter().chain(facts.operator_link.iter());
    tops.filter_map(|name| facts.link(name))
        .flat_map(|top| facts.stack(top))
        .map(|link| link.name.clone())
        .collect()
}

/// Settings without effect on the link first, then link by link from the bottom: a link with
/// nothing below it is a stack of one.
fn order(facts: &HostFacts, change: &Change) -> (bool, usize, String) {
    let link = change.setting.link().unwrap_or("");
    let depth = facts.link(link).map_or(0, |top| facts.stack(top).len());
    (change.setting.drops_link(), depth, link.to_owned())
}
