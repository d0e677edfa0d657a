//! Reads and writes one setting of the running host.
//!
//! Invariant: [`Machine::read`] gives the words that [`Machine::write`] takes, so a value that was
//! read can be written back. Writing needs CAP_NET_ADMIN for links and root for files.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;

use crate::change::{Change, Setting};
use crate::ethtool::Ethtool;
use crate::netlink::Netlink;
use crate::read::sysctl_path;
use crate::root::Root;
use crate::rtnl::{self, LinkWrite};

/// The running host.
#[derive(Debug)]
pub struct Machine {
    root: Root,
    route: Netlink,
    ethtool: Option<Ethtool>,
}

fn unreadable(setting: &Setting) -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        format!("the driver does not report {setting}"),
    )
}

fn word(on: bool) -> String {
    if on { "on" } else { "off" }.to_owned()
}

fn is_on(value: &str) -> io::Result<bool> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        other => Err(io::Error::other(format!("{other:?} is neither on nor off"))),
    }
}

fn number(value: &str) -> io::Result<u32> {
    value
        .parse()
        .map_err(|_| io::Error::other(format!("{value:?} is no number")))
}

/// The two words of a value such as `4096 4096`.
fn pair(value: &str) -> io::Result<(&str, &str)> {
    value
        .split_once(' ')
        .ok_or_else(|| io::Error::other(format!("{value:?} are not two values")))
}

impl Machine {
    /// Opens the sockets.
    ///
    /// # Errors
    /// When the kernel gives no netlink socket.
    pub fn open(root: Root) -> io::Result<Self> {
        Ok(Self {
            root,
            route: Netlink::route()?,
            ethtool: Ethtool::open().ok(),
        })
    }

    fn ethtool(&mut self) -> io::Result<&mut Ethtool> {
        let why = "the kernel has no ethtool netlink family";
        self.ethtool
            .as_mut()
            .ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, why))
    }

    /// The value of a setting now.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn read(&mut self, setting: &Setting) -> io::Result<String> {
        match setting {
            Setting::Sysctl { key } => {
                let text = self.root.line(&sysctl_path(key))?;
                Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
            }
            Setting::File { path } => self.root.line(path).map(|text| chosen(&text)),
            Setting::LinkUp { link } => {
                let up = rtnl::one(&mut self.route, link)?.admin_up;
                Ok(if up { "up" } else { "down" }.to_owned())
            }
            Setting::Mtu { link } => Ok(rtnl::one(&mut self.route, link)?.mtu.to_string()),
            Setting::TransmitQueue { link } => {
                Ok(rtnl::one(&mut self.route, link)?.transmit_queue.to_string())
            }
            Setting::Feature { link, feature } => {
                let features = self.ethtool()?.features(link)?;
                Ok(word(features.get(feature).is_some_and(|it| it.on)))
            }
            Setting::Rings { link } => {
                let rings = self.ethtool()?.rings(link)?;
                Ok(format!("{} {}", rings.rx, rings.tx))
            }
            Setting::Channels { link } => Ok(self.ethtool()?.channels(link)?.combined.to_string()),
            Setting::AdaptiveReceive { link } => {
                let adaptive = self.ethtool()?.coalesce(link)?.adaptive_rx;
                adaptive.map(word).ok_or_else(|| unreadable(setting))
            }
            Setting::Pause { link } => {
                let pause = self.ethtool()?.pause(link)?;
                Ok(format!("{} {}", word(pause.rx), word(pause.tx)))
            }
            Setting::Eee { link } => Ok(word(self.ethtool()?.eee(link)?.enabled)),
        }
    }

    /// Writes a setting. Whoever calls reads it back: drivers round and ignore.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn write(&mut self, setting: &Setting, value: &str) -> io::Result<()> {
        match setting {
            Setting::Sysctl { key } => fs::write(self.root.path(&sysctl_path(key)), value),
            Setting::File { path } => fs::write(self.root.path(path), value),
            Setting::LinkUp { link } => self.write_link(link, LinkWrite::Up(value == "up")),
            Setting::Mtu { link } => self.write_link(link, LinkWrite::Mtu(number(value)?)),
            Setting::TransmitQueue { link } => {
                self.write_link(link, LinkWrite::TransmitQueue(number(value)?))
            }
            Setting::Feature { link, feature } => {
                let on = is_on(value)?;
                self.ethtool()?.set_feature(link, feature, on)
            }
            Setting::Rings { link } => {
                let (rx, tx) = pair(value)?;
                let (rx, tx) = (number(rx)?, number(tx)?);
                self.ethtool()?.set_rings(link, rx, tx)
            }
            Setting::Channels { link } => {
                let combined = number(value)?;
                self.ethtool()?.set_channels(link, combined)
            }
            Setting::AdaptiveReceive { link } => {
                let on = is_on(value)?;
                self.ethtool()?.set_adaptive_receive(link, on)
            }
            Setting::Pause { link } => {
                let (rx, tx) = pair(value)?;
                let (rx, tx) = (is_on(rx)?, is_on(tx)?);
                self.ethtool()?.set_pause(link, rx, tx)
            }
            Setting::Eee { link } => {
                let on = is_on(value)?;
                self.ethtool()?.set_eee(link, on)
            }
        }
    }

    /// Whether the kernel would take a value: some sysctls are shown read-only in a namespace, and
    /// some congestion controls may only be chosen in the first one.
    ///
    /// # Errors
    /// What opening the file for writing says; links are judged when they are written.
    pub fn can_write(&self, change: &Change) -> io::Result<()> {
        let path = match &change.setting {
            Setting::Sysctl { key } => {
                if key == "net.ipv4.tcp_congestion_control" {
                    self.can_choose(&change.value)?;
                }
                sysctl_path(key)
            }
            Setting::File { path } => path.clone(),
            _ => return Ok(()),
        };
        let path = self.root.path(&path);
        let mode = fs::metadata(&path)?.permissions().mode();
        if mode & 0o222 == 0 {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied));
        }
        fs::OpenOptions::new().write(true).open(path).map(drop)
    }

    /// Outside the first network namespace only what every user may choose is taken
    /// (`tcp_set_default_congestion_control` of the kernel).
    fn can_choose(&self, congestion_control: &str) -> io::Result<()> {
        let listed = |file: &str| {
            let text = self.root.line(&format!("proc/sys/net/ipv4/{file}"));
            text.is_ok_and(|text| text.split(' ').any(|name| name == congestion_control))
        };
        let namespace = |process: &str| {
            let link = self.root.path(&format!("proc/{process}/ns/net"));
            fs::read_link(link)
        };
        if !listed("tcp_available_congestion_control") {
            let why = format!("this kernel has no {congestion_control} loaded");
            return Err(io::Error::other(why));
        }
        let is_first = namespace("self")? == namespace("1")?;
        if is_first || listed("tcp_allowed_congestion_control") {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "only the first network namespace may choose {congestion_control}"
        )))
    }

    fn write_link(&mut self, link: &str, write: LinkWrite) -> io::Result<()> {
        let index = rtnl::one(&mut self.route, link)?.index;
        rtnl::write(&mut self.route, index, write)
    }
}

/// The chosen word of a file such as `default [performance] powersave`.
fn chosen(text: &str) -> String {
    let inner = text
        .split('[')
        .nth(1)
        .and_then(|rest| rest.split(']').next());
    inner.unwrap_or(text).to_owned()
}
