//! Options of the way that a test takes, with the names of `iperf3`.
//!
//! Invariant: `-B HOST%DEV` and `HOST%DEV` mean what they mean there: the address, and the device.
//! A link-local address of IPv6 keeps its `%DEV`, which is its zone (RFC 4007).

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use clap::Args;
use towline_link::link::way::{Family, Way};

use crate::failure::Failure;

/// Which way.
#[derive(Args, Clone, Debug)]
pub(super) struct WayOptions {
    /// Only IPv4.
    #[arg(long = "version4", short = '4', conflicts_with = "ipv6")]
    ipv4: bool,
    /// Only IPv6.
    #[arg(long = "version6", short = '6')]
    ipv6: bool,
    /// This end's address, a name or a number, with a device if wanted: 10.0.0.1%eth0.
    #[arg(long, short = 'B', value_name = "HOST")]
    bind: Option<String>,
    /// The device that carries everything (SO_BINDTODEVICE).
    #[arg(long, value_name = "DEV")]
    bind_dev: Option<String>,
    /// This end's port of the first data stream; the next streams have the next ports.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    cport: Option<u16>,
    /// Longest wait for the control connection, in milliseconds [default: 5000]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    connect_timeout: Option<u64>,
}

impl WayOptions {
    /// The way, and the host without its device.
    pub(super) fn build(&self, host: &str) -> Result<(Way, String), Failure> {
        let (host, towards) = without_device(host);
        let family = match (self.ipv4, self.ipv6) {
            (true, _) => Some(Family::V4),
            (_, true) => Some(Family::V6),
            _ => None,
        };
        let mut way = Way {
            family,
            address: None,
            device: self.bind_dev.clone().or(towards),
            client_port: self.cport,
            connect_max: self.connect_timeout.map(Duration::from_millis),
        };
        if let Some(bind) = &self.bind {
            let (bare, device) = without_device(bind);
            let found = way.resolve(&bare, 0).map_err(|error| {
                Failure::usage(format!(
                    "--bind {bind}: {error}; name an address of this host"
                ))
            })?;
            way.address = found.first().map(|address| address.ip());
            way.device = way.device.or(device);
        }
        Ok((way, host))
    }
}

/// `HOST%DEV` in its two parts.
fn without_device(host: &str) -> (String, Option<String>) {
    match host.rsplit_once('%') {
        Some((bare, device)) if !is_link_local(bare) => (bare.to_owned(), Some(device.to_owned())),
        _ => (host.to_owned(), None),
    }
}

fn is_link_local(text: &str) -> bool {
    let address = text.trim_start_matches('[').parse::<IpAddr>();
    let of_six = |address: Ipv6Addr| address.is_unicast_link_local();
    matches!(address, Ok(IpAddr::V6(address)) if of_six(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_told_from_a_zone() {
        let device = |host: &str| without_device(host).1;
        assert_eq!(device("10.0.0.2%eth1").as_deref(), Some("eth1"));
        assert_eq!(device("fd00::2%eth1").as_deref(), Some("eth1"));
        assert_eq!(device("fe80::2%eth1"), None);
        assert_eq!(without_device("gpu-7"), ("gpu-7".to_owned(), None));
    }
}
