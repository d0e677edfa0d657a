//! Reads one host into [`HostFacts`].
//!
//! Invariant: nothing is changed, no privilege is required, and what cannot be read is recorded
//! with the reason. Not promised: more than two samples of a counter.

mod card;
mod counters;
mod host;
mod meter;
mod mounts;
mod pci;
mod speed;
mod sysctl;

use std::thread;
use std::time::Duration;

use towline_base::clock;

use crate::ethtool::Ethtool;
use crate::facts::{FORMAT, HostFacts, LinkFacts, SocketFacts};
use crate::netlink::Netlink;
use crate::reading::{Missing, Reading};
use crate::root::Root;
use crate::{error::TuneError, rtnl, sock_diag};

pub(crate) use host::owners;
pub use meter::Meter;
pub use speed::{SPEEDS_VARIABLE, ToldSpeeds};
pub(crate) use sysctl::{key_of_link, path_of as sysctl_path};

/// Interfaces of one host that are looked at; a container host has some hundreds.
const LINKS_MAX: usize = 1024;

/// Reads the host below `root`, with the speeds that its user tells; counters twice, `window`
/// apart, or once where that is zero.
///
/// # Errors
/// When the interfaces cannot be listed, without which nothing can be judged.
pub fn host(root: &Root, told: &ToldSpeeds, window: Duration) -> Result<HostFacts, TuneError> {
    let mut facts = still(root)?;
    speed::judge(&mut facts, told);
    let before = counters::sample(root, &facts);
    if !window.is_zero() {
        thread::sleep(window);
    }
    let after = counters::sample(root, &facts);
    counters::put(&mut facts, &before, after, window);
    Ok(facts)
}

/// All but the counters.
fn still(root: &Root) -> Result<HostFacts, TuneError> {
    let mut facts = HostFacts {
        format: FORMAT,
        taken_at_s: clock::since_epoch().as_secs(),
        host: root.line("proc/sys/kernel/hostname").unwrap_or_default(),
        kernel: root.line("proc/sys/kernel/osrelease").unwrap_or_default(),
        ..HostFacts::default()
    };
    let mut ethtool = None;
    if root.is_live() {
        let (mut socket, links) = links()?;
        facts.links = links;
        let defaults = rtnl::default_links(&mut socket).unwrap_or_default();
        facts.default_links = names_of(&facts, &defaults);
        ethtool = Ethtool::open().ok();
    } else {
        facts.links = card::links_of_sysfs(root);
    }
    for link in &mut facts.links {
        card::read(root, ethtool.as_mut(), link);
    }
    let names: Vec<String> = facts.links.iter().map(|link| link.name.clone()).collect();
    facts.sysctls = sysctl::read(root, &names);
    facts.sysctl_lines = sysctl::configured(root);
    facts.cpu = host::cpu(root);
    facts.disks = host::disks(root);
    facts.owners = host::owners(root);
    facts.guest = host::guest(root);
    facts.clock_synchronised = host::clock_synchronised(root);
    facts.listeners = host::listeners(root);
    facts.mounts = mounts::read(root);
    facts.tcp_sockets = tcp_sockets(root);
    facts.operator_link = host::operator_link(root, &facts);
    Ok(facts)
}

fn tcp_sockets(root: &Root) -> Reading<Vec<SocketFacts>> {
    if !root.is_live() {
        let why = "sockets are told by the running kernel only";
        return Reading::missing(Missing::Unsupported(why.to_owned()));
    }
    let what = "answer of the kernel's tcp_diag";
    Reading::from_result(sock_diag::tcp_sockets(), what, "CAP_NET_ADMIN")
}

fn links() -> Result<(Netlink, Vec<LinkFacts>), TuneError> {
    let failed = |error| TuneError::system("rtnetlink", error);
    let mut socket = Netlink::route().map_err(failed)?;
    let mut links = rtnl::links(&mut socket).map_err(failed)?;
    links.truncate(LINKS_MAX);
    Ok((socket, links))
}

/// What the files of sysctl.d set, in the order in which they are read at boot.
pub(crate) fn configured_sysctls(root: &Root) -> Vec<crate::facts::SysctlLine> {
    sysctl::configured(root)
}

/// The interfaces with their addresses, and nothing else.
pub(crate) fn addresses(root: &Root) -> Result<HostFacts, TuneError> {
    let links = if root.is_live() {
        links()?.1
    } else {
        card::links_of_sysfs(root)
    };
    Ok(HostFacts {
        links,
        ..HostFacts::default()
    })
}

fn names_of(facts: &HostFacts, indexes: &[u32]) -> Vec<String> {
    let name = |index: &u32| {
        let found = facts.links.iter().find(|link| link.index == *index);
        found.map(|link| link.name.clone())
    };
    indexes.iter().filter_map(name).collect()
}
