//! The PCIe link of a device and of every bridge above it, from sysfs.
//!
//! Governed by `Documentation/ABI/testing/sysfs-bus-pci` and the PCI Express capability (PCIe base
//! specification, section 7.5.3). Not promised: anything for a device that is not on PCIe.

use std::fs;
use std::io::{self, Read};

use crate::facts::{LinkFacts, PciePort};
use crate::reading::{Missing, Reading};
use crate::root::Root;

/// Bridges between a card and the root: PCI allows 256 buses, real machines have below ten.
const BRIDGES_MAX: usize = 16;

/// Size of the configuration space that holds the capabilities, in bytes.
const CONFIG_BYTES: u64 = 256;

/// Reads what PCI tells about the device of the interface.
pub(super) fn read(root: &Root, base: &str, link: &mut LinkFacts) {
    let device = format!("{base}/device");
    if !root.has(&format!("{device}/current_link_speed")) {
        let why = || Missing::Absent("the device is not on PCIe".to_owned());
        link.pcie = Reading::missing(why());
        link.pcie_read_request = Reading::missing(why());
        link.pcie_errors_corrected = Reading::missing(why());
        return;
    }
    link.pcie = Reading::Value(path_to_root(root, &device));
    link.pcie_read_request = read_request(root, &device);
    let errors = root
        .text(&format!("{device}/aer_dev_correctable"))
        .map(|text| total_errors(&text));
    link.pcie_errors_corrected = Reading::from_result(errors, "PCIe error counters", "root");
}

/// The sum in the file of PCIe errors; zero where the form is another.
pub(super) fn total_errors(text: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix("TOTAL_ERR_COR"))
        .and_then(|number| number.trim().parse().ok())
        .unwrap_or(0)
}

fn path_to_root(root: &Root, device: &str) -> Vec<PciePort> {
    let Ok(mut place) = fs::canonicalize(root.path(device)) else {
        return Vec::new();
    };
    let mut ports = Vec::new();
    for _ in 0..BRIDGES_MAX {
        let field = |file: &str| fs::read_to_string(place.join(file)).unwrap_or_default();
        let width = field("current_link_width").trim().parse().unwrap_or(0);
        if width > 0 {
            ports.push(PciePort {
                address: place
                    .file_name()
                    .map(|name| name.to_string_lossy().into_owned())
                    .unwrap_or_default(),
                speed_gt: gigatransfers(&field("current_link_speed")),
                speed_gt_max: gigatransfers(&field("max_link_speed")),
                width,
                width_max: field("max_link_width").trim().parse().unwrap_or(0),
            });
        }
        if !place.pop() {
            break;
        }
    }
    ports
}

/// The number in `8.0 GT/s PCIe`.
fn gigatransfers(text: &str) -> f64 {
    let first = text.split_whitespace().next().unwrap_or("");
    first.parse().unwrap_or(0.0)
}

/// The largest read request, from Device Control in the configuration space.
fn read_request(root: &Root, device: &str) -> Reading<u32> {
    let mut bytes = Vec::new();
    let result = fs::File::open(root.path(&format!("{device}/config")))
        .and_then(|file| file.take(CONFIG_BYTES).read_to_end(&mut bytes));
    if let Err(error) = result {
        return Reading::missing(Missing::of_error(&error, "configuration space", "root"));
    }
    if bytes.len() < 256 {
        // The kernel shows 64 bytes to everybody else.
        return Reading::missing(Missing::Permission("CAP_SYS_ADMIN".to_owned()));
    }
    Reading::from_result(
        read_request_of(&bytes),
        "PCI Express capability",
        "CAP_SYS_ADMIN",
    )
}

fn read_request_of(config: &[u8]) -> io::Result<u32> {
    const CAPABILITIES: usize = 0x34;
    const EXPRESS: u8 = 0x10;
    const DEVICE_CONTROL: usize = 8;
    let octet = |at: usize| config.get(at).copied().unwrap_or(0);
    let mut at = usize::from(octet(CAPABILITIES) & 0xfc);
    // The list has room for 48 entries of 4 bytes; a longer one is a loop.
    for _ in 0..48 {
        if at == 0 {
            break;
        }
        if octet(at) == EXPRESS {
            let control = u16::from(octet(at + DEVICE_CONTROL))
                | u16::from(octet(at + DEVICE_CONTROL + 1)) << 8;
            return Ok(128 << (control >> 12 & 7));
        }
        at = usize::from(octet(at + 1) & 0xfc);
    }
    Err(io::Error::other("the device has no PCI Express capability"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_read_request_is_found_in_the_capability_list() {
        let mut config = vec![0_u8; 256];
        config[0x34] = 0x40;
        config[0x40] = 0x05;
        config[0x41] = 0x60;
        config[0x60] = 0x10;
        config[0x69] = 0x50;
        assert_eq!(read_request_of(&config).unwrap(), 4096);
        config[0x41] = 0x40;
        config[0x60] = 0;
        assert!(read_request_of(&config).is_err(), "a loop ends");
    }
}
