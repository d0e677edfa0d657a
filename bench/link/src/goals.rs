//! Goals that nobody wrote down: those of a preset, and those that a card's speed and MTU set.
//!
//! Values and formulas are those of the tuning checks (`towline_tuning`), so a link that one calls
//! good is good for the other. Invariant: a card that does not tell its speed sets no goal.

use towline_tuning::formula::{Headers, goal_mbit};
use towline_tuning::{TuneError, Values};

use crate::link::run::Card;
use crate::result::{Kind, Target, Unit};

/// The goals of a preset, such as `dual-10g`, for measurements of this kind; none where the preset
/// says nothing of them.
///
/// # Errors
/// With the names that there are, when there is none of this name.
pub fn preset(name: &str, kind: Kind) -> Result<Vec<Target>, String> {
    let values = Values::load().map_err(|error: TuneError| error.to_string())?;
    let known = || values.preset.keys().cloned().collect::<Vec<_>>().join(", ");
    let preset = values.preset.get(name);
    let preset = preset.ok_or_else(|| format!("no preset {name}; there are: {}", known()))?;
    let from = format!("preset {name}");
    let (rate, round_trip) = (preset.goal_mbit * 1e6, preset.rtt_ms_max / 1e3);
    let mut goals = vec![
        target("link", rate, Unit::BitsPerSecond, &from),
        target("share", rate, Unit::BitsPerSecond, &from),
        target("rtt", round_trip, Unit::Seconds, &from),
        target("rr", round_trip, Unit::Seconds, &from),
    ];
    goals.retain(|goal| goal.concerns(kind));
    Ok(goals)
}

/// The goal for `figure` that the slowest of these cards sets, over IPv6 where `six`.
#[must_use]
pub fn of_cards<'a>(
    figure: &str,
    cards: impl Iterator<Item = &'a Card>,
    six: bool,
) -> Option<Target> {
    let formula = Values::load().ok()?.formula;
    let headers = Headers {
        six,
        timestamps: true,
        vlan: false,
    };
    let goals = cards.filter_map(|card| {
        let (speed, mtu) = (card.speed_mbit?, card.mtu?);
        let from = format!("{} at {speed} Mbit/s, MTU {mtu}", card.name);
        Some((goal_mbit(&formula, speed, mtu, headers), from))
    });
    let (mbit, from) = goals.reduce(|a, b| if a.0 <= b.0 { a } else { b })?;
    Some(target(figure, mbit * 1e6, Unit::BitsPerSecond, &from))
}

fn target(name: &str, value: f64, unit: Unit, from: &str) -> Target {
    Target {
        name: name.to_owned(),
        value,
        unit,
        from: from.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(speed_mbit: Option<u32>) -> Card {
        Card {
            name: "eth0".to_owned(),
            speed_mbit,
            mtu: Some(9000),
        }
    }

    #[test]
    fn the_slowest_card_sets_the_goal_and_a_silent_one_sets_none() {
        let cards = [card(Some(25_000)), card(Some(10_000)), card(None)];
        let goal = of_cards("share", cards.iter(), false).unwrap();
        assert!((9.2e9..9.95e9).contains(&goal.value), "{goal:?}");
        assert!(goal.concerns(Kind::Share) && !goal.concerns(Kind::Link));
        assert!(of_cards("link", [card(None)].iter(), false).is_none());
    }

    #[test]
    fn a_preset_has_goals_for_what_it_speaks_of() {
        let names = |kind| -> Vec<String> {
            let goals = preset("dual-10g", kind).unwrap().into_iter();
            goals.map(|goal| goal.name).collect()
        };
        assert_eq!(names(Kind::Share), ["share", "rtt"]);
        assert_eq!(names(Kind::Link), ["link", "rtt"]);
        assert_eq!(names(Kind::RequestResponse), ["rr"]);
        assert!(names(Kind::Disk).is_empty());
        assert!(preset("dual", Kind::Link).unwrap_err().contains("dual-10g"));
    }
}
