//! Rules of the PCIe link.
//!
//! Invariant: pure functions of the facts; the slowest link on the way to the root decides.

use super::link::no_growth;
use super::{Named, Rule};
use crate::case::{Case, Profile};
use crate::change::{Fix, Setting};
use crate::facts::{LinkFacts, PciePort};
use crate::verdict::{Judged, Verdict};

pub(super) const RULES: &[Named] = &[
    ("pcie.link", Rule::Link(bandwidth)),
    ("pcie.mrrs", Rule::Link(read_request)),
    ("pcie.aspm", Rule::Host(power)),
    ("pcie.aer", Rule::Link(errors)),
];

/// Usable Gbit/s of a PCIe link: 8b/10b coding up to 5 GT/s, 128b/130b from 8 GT/s.
fn usable_gbit(port: &PciePort) -> f64 {
    let coding = if port.speed_gt <= 5.0 {
        0.8
    } else {
        128.0 / 130.0
    };
    port.speed_gt * f64::from(port.width) * coding
}

fn describe(port: &PciePort) -> String {
    format!("{} x{} at {}", port.speed_gt, port.width, port.address)
}

fn bandwidth(case: &Case<'_>, link: &LinkFacts) -> Judged {
    let ports = link.pcie.need()?;
    let Some(device) = ports.first() else {
        return Err(crate::verdict::not_here("the device is not on PCIe"));
    };
    let slowest = ports
        .iter()
        .min_by(|one, other| usable_gbit(one).total_cmp(&usable_gbit(other)))
        .unwrap_or(device);
    let has = usable_gbit(slowest);
    let need = link
        .speed_mbit()
        .ok()
        .map(|speed| case.values.row(speed).pcie_gbit);
    let reduced = device.speed_gt < device.speed_gt_max || device.width < device.width_max;
    let read = format!("{} GT/s, {has:.0} Gbit/s usable", describe(slowest));
    // A card below its own maximum that still has enough for its line is no fault.
    let passed = need.map_or(!reduced, |need| has >= need);
    let want = match need {
        Some(need) => format!(
            "{need:.0} Gbit/s for this link, up to {} x{}",
            device.speed_gt_max, device.width_max
        ),
        None => format!(
            "{} x{}, the card's maximum",
            device.speed_gt_max, device.width_max
        ),
    };
    let advice = "put the card into a slot with more lanes that belong to a processor, reseat it, \
                  or look at the firmware's slot settings";
    Ok(Verdict::new(passed, read, want).fix(Fix::hands(advice)))
}

fn read_request(_: &Case<'_>, link: &LinkFacts) -> Judged {
    let bytes = *link.pcie_read_request.need()?;
    let fast = link.speed_mbit().is_ok_and(|speed| speed >= 25_000);
    let want = if fast { 4096 } else { 512 };
    let address = link.pcie.value().and_then(|ports| ports.first());
    let address = address.map_or("ADDRESS", |port| port.address.as_str());
    let command = format!("setpci -s {address} CAP_EXP+8.w, bits 12 to 14: see setpci(8)");
    Ok(Verdict::new(
        bytes >= want,
        format!("{bytes} bytes"),
        format!("{want} bytes or more"),
    )
    .fix(Fix::hands(command)))
}

fn power(case: &Case<'_>) -> Judged {
    let policy = case.facts.cpu.aspm_policy.need()?;
    if case.profile != Profile::Latency {
        return Ok(Verdict::report(policy));
    }
    let setting = Setting::File {
        path: "sys/module/pcie_aspm/parameters/policy".to_owned(),
    };
    Ok(
        Verdict::new(policy == "performance", policy, "performance for latency")
            .fix(Fix::change(setting, "performance")),
    )
}

fn errors(case: &Case<'_>, link: &LinkFacts) -> Judged {
    link.pcie_errors_corrected.need()?;
    no_growth(
        case,
        link,
        &["aer"],
        None,
        "reseat the card, leave out the riser",
    )
}
