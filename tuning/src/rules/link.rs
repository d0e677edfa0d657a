//! Rules of the link itself: state, speed, duplex, errors on the wire.
//!
//! Invariant: pure functions of the facts; what was not read is unknown and never counts as
//! passed.

use super::{Named, Rule, speed_text};
use crate::case::{Case, Profile};
use crate::change::{Fix, Setting};
use crate::driver_counters::Meaning;
use crate::facts::LinkFacts;
use crate::verdict::{Judged, Verdict, not_here};

pub(super) const RULES: &[Named] = &[
    ("link.up", Rule::Link(up)),
    ("link.speed", Rule::Link(speed)),
    ("link.duplex", Rule::Link(duplex)),
    ("link.peer_adv", Rule::Link(peer_offers)),
    ("link.flaps", Rule::Link(flaps)),
    ("link.fec", Rule::Link(fec)),
    ("link.eee", Rule::Link(eee)),
    ("link.sfp", Rule::Link(sfp)),
    ("link.fcs", Rule::Link(check_sequence)),
];

fn up(_: &Case<'_>, link: &LinkFacts) -> Judged {
    // Devices without a carrier of their own say `unknown` and work.
    let passed = link.admin_up && matches!(link.operstate.as_str(), "up" | "unknown");
    let administrative = if link.admin_up { "up" } else { "down" };
    let read = format!("{administrative}, {}", link.operstate);
    let verdict = Verdict::new(passed, read, "up");
    if link.admin_up {
        return Ok(verdict.fix(Fix::hands("check cable, module and the other end's port")));
    }
    let setting = Setting::LinkUp {
        link: link.name.clone(),
    };
    Ok(verdict.fix(Fix::change(setting, "up")))
}

/// The speed in a mode's name: `10000baseT/Full` is 10,000 Mbit/s.
pub(super) fn speed_of_mode(mode: &str) -> Option<u32> {
    let digits: String = mode.chars().take_while(char::is_ascii_digit).collect();
    digits
        .parse()
        .ok()
        .filter(|_| mode[digits.len()..].starts_with("base"))
}

fn fastest(modes: &[String]) -> Option<u32> {
    modes.iter().filter_map(|mode| speed_of_mode(mode)).max()
}

fn speed(_: &Case<'_>, link: &LinkFacts) -> Judged {
    let modes = link.modes.need()?;
    let now = link.speed_mbit()?;
    let Some(can) = fastest(&modes.supported) else {
        return Ok(Verdict::new(
            true,
            speed_text(now),
            "the driver lists no modes",
        ));
    };
    let peer = fastest(&modes.peer);
    let want = peer.map_or(can, |peer| peer.min(can));
    let by = if peer.is_some() {
        "both ends support"
    } else {
        "this card supports"
    };
    let offered = fastest(&modes.advertised).unwrap_or(want);
    let verdict = Verdict::new(
        now >= want,
        speed_text(now),
        format!("{} ({by})", speed_text(want)),
    );
    let verdict = if offered < want {
        let command = format!("ethtool -s {} autoneg on advertise 0xFFFFFFFF", link.name);
        verdict.fix(Fix::hands(command))
    } else {
        verdict
    };
    Ok(verdict.fix(Fix::hands(
        "replace the cable or module: a bad pair makes the link fall back; then look at the \
         switch port",
    )))
}

fn duplex(_: &Case<'_>, link: &LinkFacts) -> Judged {
    let duplex = link.modes.need()?.duplex.need()?;
    let command = format!("ethtool -s {} autoneg on", link.name);
    Ok(Verdict::new(duplex == "full", duplex, "full").fix(Fix::hands(command)))
}

fn peer_offers(_: &Case<'_>, link: &LinkFacts) -> Judged {
    let modes = link.modes.need()?;
    let (Some(ours), Some(peer)) = (fastest(&modes.advertised), fastest(&modes.peer)) else {
        return Err(not_here("the other end's offer is not reported"));
    };
    let read = format!(
        "we offer {}, the other end {}",
        speed_text(ours),
        speed_text(peer)
    );
    Ok(
        Verdict::new(peer >= ours, read, "the other end offers no less").fix(Fix::hands(
            "the other end limits this link: its port, its settings or its module",
        )),
    )
}

/// A rule over the growth of counters that must not grow.
pub(super) fn no_growth(
    case: &Case<'_>,
    link: &LinkFacts,
    names: &[&str],
    meaning: Option<Meaning>,
    advice: &str,
) -> Judged {
    if case.facts.window_ms == 0 {
        return Err(not_here("counters were read only once"));
    }
    let mut grown: Vec<(&str, u64)> = names
        .iter()
        .filter_map(|name| Some((*name, link.delta(name)?)))
        .collect();
    let mut total: u64 = names
        .iter()
        .filter_map(|name| link.counters.get(*name))
        .sum();
    // The driver's own, unless it has the same under the same name.
    let own = |name: &str| {
        let means = |meaning| case.values.driver_counters.is(meaning, name);
        meaning.is_some_and(means) && !names.contains(&name)
    };
    for (name, growth) in &link.driver_counter_deltas {
        if own(name) {
            grown.push((name, *growth));
            total += link.driver_counters.get(name).unwrap_or(&0);
        }
    }
    if grown.is_empty() {
        return Err(not_here("the driver does not count this"));
    }
    let sum: u64 = grown.iter().map(|(_, count)| count).sum();
    let parts: Vec<String> = grown
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{name} +{count}"))
        .collect();
    let read = if parts.is_empty() {
        format!("+0 in {} ms, {total} since boot", case.facts.window_ms)
    } else {
        format!("{} in {} ms", parts.join(", "), case.facts.window_ms)
    };
    Ok(Verdict::new(sum == 0, read, "no growth").fix(Fix::hands(advice)))
}

fn flaps(case: &Case<'_>, link: &LinkFacts) -> Judged {
    no_growth(
        case,
        link,
        &["carrier_down_count"],
        None,
        "replace the cable or module, try another port",
    )
}

fn check_sequence(case: &Case<'_>, link: &LinkFacts) -> Judged {
    no_growth(
        case,
        link,
        &["rx_crc_errors", "rx_frame_errors"],
        Some(Meaning::Broken),
        "replace the cable or module; clean the fibre",
    )
}

fn fec(_: &Case<'_>, link: &LinkFacts) -> Judged {
    let speed = link.speed_mbit()?;
    if speed < 25_000 {
        return Err(not_here("matters from 25 Gbit/s"));
    }
    let fec = link.fec.need()?;
    let how = if fec.automatic {
        ", chosen by the driver"
    } else {
        ""
    };
    let command = format!("ethtool --set-fec {} encoding auto", link.name);
    Ok(Verdict::new(
        fec.active != "off",
        format!("{}{how}", fec.active),
        "a mode active, the same on both ends",
    )
    .fix(Fix::hands(command)))
}

fn eee(case: &Case<'_>, link: &LinkFacts) -> Judged {
    let eee = link.eee.need()?;
    let read = if eee.enabled { "on" } else { "off" };
    if case.profile != Profile::Latency {
        return Ok(Verdict::report(read));
    }
    let setting = Setting::Eee {
        link: link.name.clone(),
    };
    Ok(Verdict::new(!eee.enabled, read, "off for latency").fix(Fix::change(setting, "off")))
}

fn sfp(_: &Case<'_>, link: &LinkFacts) -> Judged {
    let module = link.module.need()?;
    let light =
        module.receive_mw >= module.receive_mw_min && module.receive_mw <= module.receive_mw_max;
    let cool = module.temperature <= module.temperature_max;
    let read = format!(
        "{:.1} degrees, {:.3} mW received",
        module.temperature, module.receive_mw
    );
    let want = format!(
        "at most {:.1} degrees, {:.3} to {:.3} mW",
        module.temperature_max, module.receive_mw_min, module.receive_mw_max
    );
    Ok(Verdict::new(light && cool, read, want)
        .fix(Fix::hands("clean or replace module and fibre; give it air")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_is_in_the_name_of_the_mode() {
        assert_eq!(speed_of_mode("10000baseT/Full"), Some(10_000));
        assert_eq!(speed_of_mode("100000baseKR4/Full"), Some(100_000));
        assert_eq!(speed_of_mode("Autoneg"), None);
        assert_eq!(speed_of_mode("10"), None);
    }
}
