//! Options that several verbs share: those of a node, and which node to ask.
//!
//! Every option here has a key in the file; what the command line says wins over it.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use towline_config::effective::HTTP_PORT_DEFAULT;
use towline_config::{Effective, Overrides, Secret, Surroundings};
use ureq::tls::{PemItem, RootCerts};

use crate::failure::Failure;

/// Where a node answers when nobody says otherwise.
pub(crate) const URL_DEFAULT: &str = "http://127.0.0.1:8420";

/// The settings of a node that the command line knows; each wins over the file.
#[derive(Args, Debug)]
pub(crate) struct NodeOptions {
    /// Folder for volumes without a path, keys and state.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address to listen on; may be given several times; 0.0.0.0 is all of them.
    #[arg(long, value_name = "IP")]
    listen: Vec<IpAddr>,
    /// Port of HTTP; 0 takes any free one.
    #[arg(long, value_name = "N")]
    http_port: Option<u16>,
    /// Port of NFS and MOUNT; 0 takes any free one.
    #[arg(long, value_name = "N")]
    nfs_port: Option<u16>,
    /// Address or range that may read and write, in every volume; may be given several times.
    #[arg(long, value_name = "CIDR")]
    allow: Vec<String>,
}

impl NodeOptions {
    /// The settings in force.
    pub(crate) fn load(&self) -> Result<Effective, Failure> {
        let overrides = Overrides {
            config: self.config.clone(),
            data: self.data.clone(),
            listen: self.listen.clone(),
            http_port: self.http_port,
            nfs_port: self.nfs_port,
            allow: self.allow.clone(),
        };
        Effective::load(&overrides, &Surroundings::of_process())
            .map_err(|error| Failure::usage(error.to_string()))
    }
}

/// The node to ask.
#[derive(Args, Debug)]
pub(crate) struct NodeUrl {
    /// Node to ask: a URL, or a host with or without port.
    #[arg(
        long = "node",
        value_name = "URL",
        env = "TOWLINE_URL",
        default_value = URL_DEFAULT,
        value_parser = base_url,
        global = true
    )]
    pub(crate) url: String,
    /// PEM file with the authorities that may vouch for a node behind https://; without it those
    /// of this system.
    #[arg(long, value_name = "FILE", env = "TOWLINE_CA_FILE", global = true)]
    ca_file: Option<PathBuf>,
    /// What proves to the node who asks; see [`NodeToken`].
    #[arg(skip)]
    pub(crate) token: Option<Secret>,
}

impl NodeUrl {
    /// Whether the node is another machine, as far as its URL tells.
    pub(crate) fn is_elsewhere(&self) -> bool {
        let rest = self
            .url
            .split_once("://")
            .map_or(self.url.as_str(), |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or("");
        let name = match authority.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            Some(_) | None => authority,
        };
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let loopback = |address: IpAddr| address.to_canonical().is_loopback();
        !name.eq_ignore_ascii_case("localhost") && !bare.parse().is_ok_and(loopback)
    }

    /// The same, asked with a token.
    pub(crate) fn with(&self, token: &NodeToken) -> Result<Self, Failure> {
        Ok(Self {
            url: self.url.clone(),
            ca_file: self.ca_file.clone(),
            token: token.read()?,
        })
    }

    /// The node's address without a token.
    #[cfg(test)]
    pub(crate) fn of(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            ca_file: None,
            token: None,
        }
    }

    /// What a certificate of the node is checked against.
    pub(crate) fn authorities(&self) -> Result<RootCerts, Failure> {
        let named = self.ca_file.as_ref();
        let Some(path) = named.filter(|path| !path.as_os_str().is_empty()) else {
            return Ok(RootCerts::PlatformVerifier);
        };
        let failed = |why: String| {
            Failure::usage(format!(
                "--ca-file {}: {why}; name a PEM file with the certificate of the node or of its \
                 authority",
                path.display()
            ))
        };
        let text = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
        let mut found = Vec::new();
        for item in ureq::tls::parse_pem(&text) {
            if let PemItem::Certificate(one) = item.map_err(|error| failed(error.to_string()))? {
                found.push(one);
            }
        }
        if found.is_empty() {
            return Err(failed("there is no certificate in it".to_owned()));
        }
        Ok(RootCerts::from(found))
    }
}

/// A node's URL as it is asked: with scheme and port, without a slash at its end.
fn base_url(written: &str) -> Result<String, String> {
    let written = written.trim().trim_end_matches('/');
    if written.is_empty() {
        // A variable that is set to nothing says nothing.
        return Ok(URL_DEFAULT.to_owned());
    }
    let (scheme, authority) = written.split_once("://").unwrap_or(("http", written));
    let wrong = || {
        format!("write a host, a host and a port, or a URL like {URL_DEFAULT}; https:// works too")
    };
    if !matches!(scheme, "http" | "https") || authority.contains(['/', '@', '?', '#', ' ']) {
        return Err(wrong());
    }
    let is_bare = !written.contains("://");
    let is_six = authority.parse::<std::net::Ipv6Addr>().is_ok();
    let authority = if is_six {
        format!("[{authority}]")
    } else {
        authority.to_owned()
    };
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| {
        !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
    });
    if authority.is_empty() || (!has_port && authority.ends_with(':')) {
        return Err(wrong());
    }
    Ok(if is_bare && !has_port {
        format!("{scheme}://{authority}:{HTTP_PORT_DEFAULT}")
    } else {
        format!("{scheme}://{authority}")
    })
}

/// The environment variable with a token.
const TOKEN_VARIABLE: &str = "TOWLINE_TOKEN";

/// A token of the node's `[[models.tokens]]`, for whoever is not its owner.
#[derive(Args)]
pub(crate) struct NodeToken {
    /// Token of the node's [[models.tokens]]; others on this machine see it while the command runs,
    /// so rather set TOWLINE_TOKEN or use --token-file.
    #[arg(
        long,
        value_name = "TOKEN",
        env = TOKEN_VARIABLE,
        hide_env_values = true,
        global = true
    )]
    token: Option<String>,
    /// File with the token; goes before TOWLINE_TOKEN.
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
}

impl std::fmt::Debug for NodeToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NodeToken(***, {:?})", self.token_file)
    }
}

impl NodeToken {
    fn read(&self) -> Result<Option<Secret>, Failure> {
        let text = match (&self.token, &self.token_file) {
            (Some(token), Some(_)) if std::env::var(TOKEN_VARIABLE).as_ref() != Ok(token) => {
                return Err(Failure::usage("--token and --token-file: give one of them"));
            }
            (_, Some(path)) => std::fs::read_to_string(path)
                .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?,
            (Some(token), None) => token.clone(),
            (None, None) => return Ok(None),
        };
        let token = text.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            let why = "a token is one line of visible characters, and not empty";
            return Err(Failure::usage(why));
        }
        Ok(Some(Secret::new(token.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_may_be_named_by_its_host_alone() {
        for (written, asked) in [
            ("", "http://127.0.0.1:8420"),
            ("node1", "http://node1:8420"),
            ("node1:9000", "http://node1:9000"),
            ("fd00::1", "http://[fd00::1]:8420"),
            ("[fd00::1]", "http://[fd00::1]:8420"),
            ("https://node1:8443/", "https://node1:8443"),
            ("http://node1", "http://node1"),
        ] {
            assert_eq!(base_url(written).as_deref(), Ok(asked));
        }
        for wrong in [
            "ftp://node1",
            "http://node1/files",
            "user@node1",
            "node1:",
            "a b",
        ] {
            assert!(base_url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_url_tells_whether_the_node_is_elsewhere() {
        let elsewhere = |url: &str| NodeUrl::of(url).is_elsewhere();
        for here in [
            "http://127.0.0.1:8420",
            "http://127.1.2.3",
            "http://localhost:1/",
            "http://[::1]:8420/",
        ] {
            assert!(!elsewhere(here), "{here}");
        }
        for there in [
            "http://10.0.0.1:8420",
            "http://node",
            "http://[fd00::1]:8420",
        ] {
            assert!(elsewhere(there), "{there}");
        }
    }
}
