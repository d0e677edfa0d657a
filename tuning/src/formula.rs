//! What a link can carry and what its buffers must hold.
//!
//! Invariant: pure arithmetic; speeds in Mbit/s, sizes in bytes, times in milliseconds.

use crate::values::Formula;

/// Octets around a frame: preamble 8, header 14, check sequence 4, gap 12.
const FRAME_OVERHEAD: f64 = 38.0;

/// What is in front of the payload.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Headers {
    /// IPv6 instead of IPv4.
    pub six: bool,
    /// TCP timestamps.
    pub timestamps: bool,
    /// A VLAN tag.
    pub vlan: bool,
}

/// Share of the line that is TCP payload, 0 to 1.
#[must_use]
pub fn efficiency(mtu: u32, headers: Headers) -> f64 {
    let ip = if headers.six { 40.0 } else { 20.0 };
    let stamps = if headers.timestamps { 12.0 } else { 0.0 };
    let tag = if headers.vlan { 4.0 } else { 0.0 };
    let mtu = f64::from(mtu);
    ((mtu - ip - 20.0 - stamps) / (mtu + FRAME_OVERHEAD + tag)).max(0.0)
}

/// Throughput that a good link reaches, in Mbit/s.
#[must_use]
pub fn goal_mbit(formula: &Formula, speed_mbit: u32, mtu: u32, headers: Headers) -> f64 {
    let share = if speed_mbit >= 100_000 {
        formula.goal_share_from_100g
    } else {
        formula.goal_share
    };
    share * f64::from(speed_mbit) * efficiency(mtu, headers)
}

/// Bytes that the receive and the send buffer must be able to hold.
#[must_use]
pub fn buffer_bytes(formula: &Formula, speed_mbit: u32, rtt_ms: f64) -> u64 {
    // Mbit/s times milliseconds is kilobits: 125 octets each.
    let need = formula.buffer_factor * f64::from(speed_mbit) * rtt_ms * 125.0;
    let floor = formula.buffer_floor_mib * 1024.0 * 1024.0;
    // Below 2^53 for every speed and distance on this planet.
    need.max(floor).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::Values;

    #[test]
    fn the_table_of_the_catalogue_follows_from_the_formula() {
        let stamps = Headers {
            timestamps: true,
            ..Headers::default()
        };
        let near = |left: f64, right: f64| assert!((left - right).abs() < 1e-4, "{left} {right}");
        near(efficiency(1500, stamps), 0.9415);
        near(efficiency(9000, stamps), 0.9900);
        near(efficiency(1500, Headers::default()), 0.9493);
        let formula = Values::load().unwrap().formula;
        let goal = |speed, mtu| goal_mbit(&formula, speed, mtu, stamps) / 1000.0;
        assert!((goal(10_000, 9000) - 9.70).abs() < 0.01);
        assert!((goal(10_000, 1500) - 9.23).abs() < 0.01);
        assert!((goal(100_000, 9000) - 95.0).abs() < 0.1);
        assert_eq!(buffer_bytes(&formula, 10_000, 10.0), 25_000_000);
        assert_eq!(buffer_bytes(&formula, 10_000, 0.1), 4 << 20);
    }
}
