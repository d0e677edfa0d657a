//! One setting that `apply` can change, and what a person would type instead.
//!
//! Invariant: every change names exactly one value that can be read before and written back. A
//! change that drops the link for a moment says so: it is applied last, with a rollback timer.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A setting of this host.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Setting {
    /// A file below `/proc/sys`; dots as in sysctl(8), a slash within an interface name kept.
    Sysctl {
        /// The key, such as `net.core.rmem_max`.
        key: String,
    },
    /// A writable file below `/sys` or `/proc`, path without the leading slash.
    File {
        /// The path, such as `sys/class/net/eth0/queues/rx-0/rps_cpus`.
        path: String,
    },
    /// Whether the link is administratively up: `up` or `down`.
    LinkUp {
        /// Interface.
        link: String,
    },
    /// The MTU in bytes.
    Mtu {
        /// Interface.
        link: String,
    },
    /// The length of the transmit queue in packets.
    TransmitQueue {
        /// Interface.
        link: String,
    },
    /// An offload by its kernel name: `on` or `off`.
    Feature {
        /// Interface.
        link: String,
        /// Kernel name, such as `rx-gro`.
        feature: String,
    },
    /// Descriptors in the receive and transmit rings: `rx tx`.
    Rings {
        /// Interface.
        link: String,
    },
    /// Number of combined channels.
    Channels {
        /// Interface.
        link: String,
    },
    /// Adaptive receive coalescing: `on` or `off`.
    AdaptiveReceive {
        /// Interface.
        link: String,
    },
    /// Flow control: `rx tx`, each `on` or `off`.
    Pause {
        /// Interface.
        link: String,
    },
    /// Energy-efficient Ethernet: `on` or `off`.
    Eee {
        /// Interface.
        link: String,
    },
}

impl Setting {
    /// The interface that it belongs to, if any.
    #[must_use]
    pub fn link(&self) -> Option<&str> {
        match self {
            Self::Sysctl { .. } | Self::File { .. } => None,
            Self::LinkUp { link }
            | Self::Mtu { link }
            | Self::TransmitQueue { link }
            | Self::Feature { link, .. }
            | Self::Rings { link }
            | Self::Channels { link }
            | Self::AdaptiveReceive { link }
            | Self::Pause { link }
            | Self::Eee { link } => Some(link),
        }
    }

    /// Whether changing it drops the link for a moment on some drivers.
    #[must_use]
    pub const fn drops_link(&self) -> bool {
        match self {
            Self::LinkUp { .. }
            | Self::Mtu { .. }
            | Self::Rings { .. }
            | Self::Channels { .. }
            | Self::Pause { .. }
            | Self::Eee { .. } => true,
            Self::Sysctl { .. }
            | Self::File { .. }
            | Self::TransmitQueue { .. }
            | Self::Feature { .. }
            | Self::AdaptiveReceive { .. } => false,
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sysctl { key } => write!(out, "sysctl {key}"),
            Self::File { path } => write!(out, "/{path}"),
            Self::LinkUp { link } => write!(out, "{link} state"),
            Self::Mtu { link } => write!(out, "{link} mtu"),
            Self::TransmitQueue { link } => write!(out, "{link} txqueuelen"),
            Self::Feature { link, feature } => write!(out, "{link} {feature}"),
            Self::Rings { link } => write!(out, "{link} rings (rx tx)"),
            Self::Channels { link } => write!(out, "{link} combined channels"),
            Self::AdaptiveReceive { link } => write!(out, "{link} adaptive-rx"),
            Self::Pause { link } => write!(out, "{link} pause (rx tx)"),
            Self::Eee { link } => write!(out, "{link} eee"),
        }
    }
}

/// A setting and the value that it should get.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Change {
    /// What to change.
    pub setting: Setting,
    /// The new value, in the words that reading the setting gives.
    pub value: String,
}

impl Change {
    /// What a person would type.
    #[must_use]
    pub fn command(&self) -> String {
        let value = &self.value;
        let (first, second) = value.split_once(' ').unwrap_or((value, value));
        match &self.setting {
            Setting::Sysctl { key } => format!("sysctl -w {key}='{value}'"),
            Setting::File { path } => format!("echo {value} > /{path}"),
            Setting::LinkUp { link } => format!("ip link set {link} {value}"),
            Setting::Mtu { link } => format!("ip link set {link} mtu {value}"),
            Setting::TransmitQueue { link } => format!("ip link set {link} txqueuelen {value}"),
            Setting::Feature { link, feature } => format!("ethtool -K {link} {feature} {value}"),
            Setting::Rings { link } => format!("ethtool -G {link} rx {first} tx {second}"),
            Setting::Channels { link } => format!("ethtool -L {link} combined {value}"),
            Setting::AdaptiveReceive { link } => format!("ethtool -C {link} adaptive-rx {value}"),
            Setting::Pause { link } => format!("ethtool -A {link} rx {first} tx {second}"),
            Setting::Eee { link } => format!("ethtool --set-eee {link} eee {value}"),
        }
    }
}

/// What to do about a failure.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Fix {
    /// A command, or a sentence where hands are needed.
    pub text: String,
    /// What `apply` would do; none where a person has to act.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub change: Option<Change>,
}

impl Fix {
    /// A change that `apply` can make.
    #[must_use]
    pub fn change(setting: Setting, value: impl Into<String>) -> Self {
        let change = Change {
            setting,
            value: value.into(),
        };
        Self {
            text: change.command(),
            change: Some(change),
        }
    }

    /// A sysctl.
    #[must_use]
    pub fn sysctl(key: &str, value: impl Into<String>) -> Self {
        let key = key.to_owned();
        Self::change(Setting::Sysctl { key }, value)
    }

    /// Something that a person has to do.
    #[must_use]
    pub fn hands(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            change: None,
        }
    }
}
