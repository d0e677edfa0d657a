//! The mount commands, generated from one table: what a person types on a client.
//!
//! Governed by nfs(5), mount_nfs(8) of macOS and Microsoft's `mount` page. Linux and macOS take
//! ports as options; Windows always asks the portmapper on 111. Linux takes the newest version of
//! NFS that the node serves; where that is 3, and for the others, the version is pinned, and no
//! remote locking is asked for, because version 3 has none here. Invariant: a command that is
//! printed as one to paste is complete.

use std::net::IpAddr;

use towline_api::status::{ListenerProtocol, Status};

/// Ports that are assumed when no node answers.
const NFS_PORT: u16 = towline_config::effective::NFS_PORT_DEFAULT;
const HTTP_PORT: u16 = towline_config::effective::HTTP_PORT_DEFAULT;

/// A client's system.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum System {
    /// Any Linux with nfs-utils.
    Linux,
    /// macOS.
    Macos,
    /// Windows Pro, Enterprise, Education or Server.
    Windows,
}

impl System {
    pub(crate) const ALL: [Self; 3] = [Self::Linux, Self::Macos, Self::Windows];
}

/// What the commands depend on.
#[derive(Debug)]
pub(crate) struct Facts {
    /// The node's address as a client reaches it.
    host: String,
    nfs_port: u16,
    http_port: u16,
    /// Port 111 leads to the node.
    portmap: bool,
    /// Version 4 of NFS is served.
    nfs4: bool,
    /// Name, and whether it can be written to.
    volumes: Vec<(String, bool)>,
}

/// When a line of the table is printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum When {
    /// Once, above the volumes.
    Above,
    /// Once above, if port 111 leads to the node.
    AboveWithPortmap,
    /// Once above, if it does not.
    AboveWithoutPortmap,
    /// For every volume.
    Each,
    /// For every volume, if port 111 leads to the node.
    EachWithPortmap,
    /// For every volume that can only be read.
    ReadOnly,
    /// For every volume that can be written to.
    Writable,
    /// Once, below the volumes.
    Below,
}

/// One line of help. `{host}`, `{url}`, `{nfs}`, `{http}`, `{name}` and `{drive}` are filled in.
type Row = (System, When, &'static str);

const TABLE: [Row; 19] = [
    (
        System::Linux,
        When::Above,
        "# Linux (needs nfs-common or nfs-utils)",
    ),
    (System::Linux, When::Each, "sudo mkdir -p /mnt/{name}"),
    (
        System::Linux,
        When::ReadOnly,
        "sudo mount -t nfs -o ro,{linux},nconnect=8,rsize=1048576,hard,noatime,actimeo=60 \
         {host}:/{name} /mnt/{name}",
    ),
    (
        System::Linux,
        When::Writable,
        "sudo mount -t nfs -o {linux},nconnect=8,rsize=1048576,wsize=1048576,hard,noatime \
         {host}:/{name} /mnt/{name}",
    ),
    (System::Macos, When::Above, "# macOS"),
    (System::Macos, When::Each, "sudo mkdir -p /Volumes/{name}"),
    (
        System::Macos,
        When::ReadOnly,
        "sudo mount_nfs -o ro,vers=3,tcp,port={nfs},mountport={nfs},nolocks,rsize=1048576,\
         readahead=128,dsize=65536,nfc,intr {host}:/{name} /Volumes/{name}",
    ),
    (
        System::Macos,
        When::Writable,
        "sudo mount_nfs -o vers=3,tcp,port={nfs},mountport={nfs},nolocks,rsize=1048576,\
         wsize=1048576,readahead=128,dsize=65536,nfc,intr {host}:/{name} /Volumes/{name}",
    ),
    (
        System::Windows,
        When::Above,
        "# Windows (Pro, Enterprise, Education; once, in an administrator's PowerShell)",
    ),
    (
        System::Windows,
        When::Above,
        "Enable-WindowsOptionalFeature -Online -All -FeatureName \
         ServicesForNFS-ClientOnly,ClientForNFS-Infrastructure",
    ),
    (
        System::Windows,
        When::AboveWithoutPortmap,
        "# Windows finds NFS through port 111 only, and nothing on the node answers there:",
    ),
    (
        System::Windows,
        When::AboveWithoutPortmap,
        "# run the node as root, or beside rpcbind, or use HTTP below.",
    ),
    (
        System::Windows,
        When::AboveWithPortmap,
        "# then in an ordinary command prompt",
    ),
    (
        System::Windows,
        When::EachWithPortmap,
        "mount -o anon,nolock,mtype=hard,timeout=60,casesensitive,fileaccess=755 \
         \\\\{host}\\{name} {drive}:",
    ),
    (
        System::Windows,
        When::Below,
        "# for speed or on Home editions, HTTP: http://{url}:{http}/files/",
    ),
    (
        System::Linux,
        When::Below,
        "# without mounting: http://{url}:{http}/files/",
    ),
    (
        System::Macos,
        When::Below,
        "# without mounting: http://{url}:{http}/files/",
    ),
    (
        System::Linux,
        When::Below,
        "# one file, resumable: curl -C - -O http://{url}:{http}/files/VOLUME/FILE",
    ),
    (
        System::Macos,
        When::Below,
        "# one file, resumable: curl -C - -O http://{url}:{http}/files/VOLUME/FILE",
    ),
];

/// How Linux finds a node that serves version 4: one port, and locks.
const LINUX_4: &str = "proto=tcp,port={nfs}";

/// How Linux finds a node that serves version 3 only: MOUNT is a second program.
const LINUX_3: &str = "vers=3,proto=tcp,port={nfs},mountport={nfs},mountproto=tcp,nolock";

/// First drive letter that is offered; the ones before are often taken.
const DRIVE_FIRST: u8 = b'M';

impl Facts {
    /// The facts of a running node. `url`: how it was reached, if it was.
    pub(crate) fn of(status: &Status, url: Option<&str>) -> Self {
        let asked = url.and_then(host_of).filter(|host| !is_local(host));
        Self {
            host: asked.unwrap_or_else(|| own_address(status)),
            nfs_port: port(status, ListenerProtocol::Nfs).unwrap_or(NFS_PORT),
            http_port: port(status, ListenerProtocol::Http).unwrap_or(HTTP_PORT),
            portmap: status.portmap,
            nfs4: status.nfs4.is_some(),
            volumes: status
                .volumes
                .iter()
                .map(|volume| (volume.name.clone(), !volume.read_only))
                .collect(),
        }
    }

    /// What is likely when no node answers at `url`.
    pub(crate) fn guessed(url: &str) -> Self {
        let volumes = [("models", false), ("projects", true), ("cache", true)];
        Self {
            host: host_of(url).unwrap_or_else(|| "127.0.0.1".to_owned()),
            nfs_port: NFS_PORT,
            http_port: HTTP_PORT,
            portmap: true,
            nfs4: true,
            volumes: volumes
                .map(|(name, writes)| (name.to_owned(), writes))
                .to_vec(),
        }
    }

    fn fill(&self, template: &str, name: &str, drive: char) -> String {
        let bracketed = match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => format!("[{address}]"),
            Ok(IpAddr::V4(_)) | Err(_) => self.host.clone(),
        };
        template
            .replace("{linux}", if self.nfs4 { LINUX_4 } else { LINUX_3 })
            .replace("{host}", &bracketed)
            .replace("{url}", &bracketed)
            .replace("{nfs}", &self.nfs_port.to_string())
            .replace("{http}", &self.http_port.to_string())
            .replace("{name}", name)
            .replace("{drive}", &drive.to_string())
    }
}

/// The help for one system: lines to paste, and comments.
pub(crate) fn help(facts: &Facts, system: System) -> String {
    let mut text = String::new();
    let mut add = |name: &str, drive: u8, is_wanted: &dyn Fn(When) -> bool| {
        for (_, when, line) in TABLE.iter().filter(|(of, ..)| *of == system) {
            if is_wanted(*when) {
                text.push_str(&facts.fill(line, name, char::from(drive)));
                text.push('\n');
            }
        }
    };
    add("", b' ', &|when| match when {
        When::Above => true,
        When::AboveWithPortmap => facts.portmap,
        When::AboveWithoutPortmap => !facts.portmap,
        When::Each | When::EachWithPortmap | When::ReadOnly | When::Writable | When::Below => false,
    });
    let drives = (DRIVE_FIRST..=b'Z').chain(b'D'..DRIVE_FIRST).cycle();
    for ((name, writes), drive) in facts.volumes.iter().zip(drives) {
        add(name, drive, &|when| match when {
            When::Each => true,
            When::EachWithPortmap => facts.portmap,
            When::ReadOnly => !writes,
            When::Writable => *writes,
            When::Above | When::AboveWithPortmap | When::AboveWithoutPortmap | When::Below => false,
        });
    }
    add("", b' ', &|when| when == When::Below);
    text
}

/// The host in `http://host:port/`.
fn host_of(url: &str) -> Option<String> {
    let rest = url.strip_prefix("http://")?;
    let authority = rest.split(['/', '?']).next()?;
    if let Some(bracketed) = authority.strip_prefix('[') {
        return bracketed.split_once(']').map(|(host, _)| host.to_owned());
    }
    let host = authority.split(':').next()?;
    (!host.is_empty()).then(|| host.to_owned())
}

fn is_local(host: &str) -> bool {
    let address = host.parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// The port of the first listener that speaks a protocol.
fn port(status: &Status, protocol: ListenerProtocol) -> Option<u16> {
    let mut all = status.listeners.iter();
    let found = all.find(|listener| listener.protocol == protocol)?;
    Some(found.address.port())
}

/// An address under which others reach the node that runs on this host.
fn own_address(status: &Status) -> String {
    let listeners = status.listeners.iter();
    let nfs = listeners.filter(|listener| listener.protocol == ListenerProtocol::Nfs);
    let listened: Vec<IpAddr> = nfs.map(|listener| listener.address.ip()).collect();
    let outside = |address: &IpAddr| !address.is_loopback() && !address.is_unspecified();
    let named = listened.iter().copied().find(outside);
    let everywhere = listened.iter().any(IpAddr::is_unspecified);
    let found = named.or_else(|| everywhere.then(first_interface)?);
    let address = found.or(listened
        .first()
        .copied()
        .filter(|one| !one.is_unspecified()));
    address.map_or_else(|| "127.0.0.1".to_owned(), |address| address.to_string())
}

/// The first address of this host that leads outside, IPv4 before IPv6.
fn first_interface() -> Option<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().ok()?;
    let mut outside: Vec<IpAddr> = interfaces
        .iter()
        .filter(|interface| !interface.is_loopback() && !interface.is_link_local())
        .map(if_addrs::Interface::ip)
        .collect();
    outside.sort_by_key(IpAddr::is_ipv6);
    outside.first().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(portmap: bool) -> Facts {
        Facts {
            host: "10.0.0.1".to_owned(),
            nfs_port: 2050,
            http_port: 8420,
            portmap,
            nfs4: true,
            volumes: vec![("models".to_owned(), false), ("projects".to_owned(), true)],
        }
    }

    #[test]
    fn linux_is_told_both_ports_where_mount_is_a_second_program() {
        let facts = Facts {
            nfs4: false,
            ..facts(true)
        };
        assert_eq!(
            help(&facts, System::Linux),
            "# Linux (needs nfs-common or nfs-utils)\n\
             sudo mkdir -p /mnt/models\n\
             sudo mount -t nfs -o ro,vers=3,proto=tcp,port=2050,mountport=2050,mountproto=tcp,\
             nolock,nconnect=8,rsize=1048576,hard,noatime,actimeo=60 \
             10.0.0.1:/models /mnt/models\n\
             sudo mkdir -p /mnt/projects\n\
             sudo mount -t nfs -o vers=3,proto=tcp,port=2050,mountport=2050,mountproto=tcp,\
             nolock,nconnect=8,rsize=1048576,wsize=1048576,hard,noatime \
             10.0.0.1:/projects /mnt/projects\n\
             # without mounting: http://10.0.0.1:8420/files/\n\
             # one file, resumable: curl -C - -O http://10.0.0.1:8420/files/VOLUME/FILE\n"
        );
    }

    #[test]
    fn linux_needs_one_port_where_version_4_is_served() {
        let text = help(&facts(true), System::Linux);
        assert!(
            text.contains(
                "sudo mount -t nfs -o ro,proto=tcp,port=2050,nconnect=8,rsize=1048576,hard,noatime,\
                 actimeo=60 10.0.0.1:/models /mnt/models\n"
            ),
            "{text}"
        );
        assert!(
            !text.contains("nolock") && !text.contains("vers="),
            "{text}"
        );
    }

    #[test]
    fn macos_is_told_not_to_lock_remotely() {
        let text = help(&facts(true), System::Macos);
        assert_eq!(text.matches("nolocks,rsize=1048576").count(), 2, "{text}");
        assert!(
            text.contains(" 10.0.0.1:/models /Volumes/models\n"),
            "{text}"
        );
    }

    #[test]
    fn windows_gets_drives_where_it_can_find_the_node_and_http_where_it_cannot() {
        let text = help(&facts(true), System::Windows);
        assert!(text.contains("mtype=hard,timeout=60"), "{text}");
        assert!(text.contains("\\\\10.0.0.1\\models M:\n"), "{text}");
        assert!(text.contains("\\\\10.0.0.1\\projects N:\n"), "{text}");
        let blind = help(&facts(false), System::Windows);
        assert!(
            !blind.contains("mount -o") && blind.contains("port 111 only"),
            "{blind}"
        );
        assert!(blind.contains("http://10.0.0.1:8420/files/"), "{blind}");
    }

    #[test]
    fn no_placeholder_is_left_and_ipv6_stands_in_brackets() {
        let mut facts = facts(true);
        facts.host = "fd00::1".to_owned();
        for system in System::ALL {
            let text = help(&facts, system);
            assert!(!text.contains(['{', '}']), "{text}");
        }
        assert!(help(&facts, System::Linux).contains(" [fd00::1]:/models "));
    }

    #[test]
    fn the_host_is_the_one_that_was_asked() {
        for (url, host) in [
            ("http://10.0.0.1:8420", Some("10.0.0.1")),
            ("http://node/", Some("node")),
            ("http://[fd00::1]:1/x", Some("fd00::1")),
            ("https://node", None),
            ("http://", None),
        ] {
            assert_eq!(host_of(url).as_deref(), host, "{url}");
        }
        assert!(is_local("localhost") && is_local("127.0.0.1") && !is_local("10.0.0.1"));
    }
}
