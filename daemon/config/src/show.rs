//! Every setting in force with its origin, as rows for `towline config show`.
//!
//! Invariant: rows come in the order of the documentation, and a secret shows as `***`.

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use towline_base::ByteCount;

use crate::effective::{
    CongestionControl, Effective, Engine, LocalPorts, LogFormat, ModelRights, Origin, Portmap,
    Setting, Squash, Volume, VolumeKind,
};
use crate::period;
use crate::volume_check::is_loopback_only;

/// One setting.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Row {
    /// The dotted key, as it would be written in the file.
    pub key: String,
    /// The value, as it would be written in the file.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

impl Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.pad("default"),
            Self::File(line) => f.pad(&format!("file, line {line}")),
            Self::CommandLine(option) => f.pad(option),
        }
    }
}

/// All settings in force.
#[must_use]
pub fn rows(effective: &Effective) -> Vec<Row> {
    let mut table = Table(Vec::new());
    let Effective {
        node, listen, io, ..
    } = effective;
    table.text("node.name", &node.name);
    table.path("node.data", &node.data);
    table.list("listen.addresses", &listen.addresses);
    table.plain("listen.http_port", &listen.http_port);
    table.plain("listen.nfs_port", &listen.nfs_port);
    table.add("listen.s3_port", &listen.s3_port, |port| match port {
        None => "none".to_owned(),
        Some(port) => port.to_string(),
    });
    table.add("listen.hub_port", &listen.hub_port, |port| match port {
        None => "none".to_owned(),
        Some(port) => port.to_string(),
    });
    table.word("listen.portmap", &listen.portmap, |value| match value {
        Portmap::Auto => "auto",
        Portmap::Off => "off",
    });
    table.list("listen.names", &listen.names);
    table.list("listen.origins", &listen.origins);
    table.word("io.engine", &io.engine, |value| match value {
        Engine::Auto => "auto",
        Engine::Uring => "uring",
        Engine::Portable => "portable",
    });
    let workers = |workers: &Option<u16>| match workers {
        None => "\"auto\"".to_owned(),
        Some(count) => count.to_string(),
    };
    table.add("io.workers", &io.workers, workers);
    table.add(
        "io.congestion_control",
        &io.congestion_control,
        |value| match value {
            CongestionControl::Auto => "\"auto\"".to_owned(),
            CongestionControl::Host => "\"host\"".to_owned(),
            CongestionControl::Named(name) => format!("\"{name}\""),
        },
    );
    limits(&mut table, effective);
    tls(&mut table, effective);
    table.word("log.format", &effective.log.format, |value| match value {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    });
    table.word("log.level", &effective.log.level, |level| level);
    table.word(
        "nfs.local_ports",
        &effective.local_ports,
        |value| match value {
            LocalPorts::Owner => "owner",
            LocalPorts::Any => "any",
        },
    );
    table.plain("nfs.v4", &effective.nfs_v4);
    table.period("nfs.lease", &effective.nfs_lease);
    table.plain("tune.answer", &effective.tune.answer);
    table.plain("tune.port", &effective.tune.port);
    bench(&mut table, effective);
    s3_keys(&mut table, effective);
    models(&mut table, effective);
    for one in &effective.volumes {
        volume(&mut table, one);
    }
    table.0
}

fn tls(table: &mut Table, effective: &Effective) {
    let Some(tls) = &effective.tls else {
        return;
    };
    table.path("tls.certificate", &tls.certificate);
    table.path("tls.key", &tls.key);
    table.plain("tls.port", &tls.port);
    for pair in &tls.more {
        let written = |path: &Path| Setting {
            value: path.to_owned(),
            origin: tls.certificate.origin.clone(),
        };
        table.path("tls.more.certificate", &written(&pair.certificate));
        table.path("tls.more.key", &written(&pair.key));
    }
}

fn bench(table: &mut Table, effective: &Effective) {
    let bench = &effective.bench;
    table.plain("bench.iperf3", &bench.iperf3);
    table.plain("bench.port", &bench.port);
    table.list("bench.allow", &bench.allow);
    table.period("bench.time_max", &bench.time_max);
    table.plain("bench.rate_max_mbit", &bench.rate_max_mbit);
}

fn models(table: &mut Table, effective: &Effective) {
    let models = &effective.models;
    table.plain("models.require_signature", &models.require_signature);
    table.list("models.trusted_keys", &models.trusted_keys);
    if let Some(path) = &models.signing_key.value {
        let shown = |_: &Option<std::path::PathBuf>| {
            format!("\"{}\"", path.display().to_string().escape_debug())
        };
        table.add("models.signing_key", &models.signing_key, shown);
    }
    for token in &models.tokens {
        let secret = Setting {
            value: token.secret.to_string(),
            origin: token.prefix.origin.clone(),
        };
        table.text("models.tokens.token", &secret);
        table.text("models.tokens.prefix", &token.prefix);
        table.word(
            "models.tokens.rights",
            &token.rights,
            |rights| match rights {
                ModelRights::Read => "read",
                ModelRights::Publish => "publish",
            },
        );
    }
}

fn s3_keys(table: &mut Table, effective: &Effective) {
    for key in &effective.s3_keys {
        table.text("s3.keys.id", &key.id);
        let secret = Setting {
            value: key.secret.to_string(),
            origin: key.id.origin.clone(),
        };
        table.text("s3.keys.secret", &secret);
        if !key.prefixes.is_empty() {
            let prefixes = Setting {
                value: key.prefixes.clone(),
                origin: key.id.origin.clone(),
            };
            table.list("s3.keys.prefixes", &prefixes);
        }
    }
}

fn limits(table: &mut Table, effective: &Effective) {
    let limits = &effective.limits;
    table.plain("limits.connections", &limits.connections);
    let per_address = &limits.connections_per_address;
    table.plain("limits.connections_per_address", per_address);
    table.bytes("limits.receive_budget", &limits.receive_budget);
    table.plain("limits.pool_threads", &limits.pool_threads);
    table.period("limits.head_timeout", &limits.head_timeout);
    table.period("limits.idle_timeout", &limits.idle_timeout);
    table.period("limits.nfs_idle_timeout", &limits.nfs_idle_timeout);
    table.period("limits.stall_timeout", &limits.stall_timeout);
    table.bytes("limits.progress_per_s", &limits.progress_per_s);
    table.bytes("limits.upload_size", &limits.upload_size);
    table.bytes("limits.upload_part", &limits.upload_part);
    table.period("limits.upload_age", &limits.upload_age);
    table.period("limits.drain_timeout", &limits.drain_timeout);
}

fn volume(table: &mut Table, volume: &Volume) {
    let key = |key: &str| format!("volumes.{}.{key}", volume.name);
    table.word(&key("kind"), &volume.kind, |value| value.as_str());
    table.path(&key("path"), &volume.path);
    table.plain(&key("require_mount"), &volume.require_mount);
    table.plain(&key("read_only"), &volume.read_only);
    table.list(&key("allow"), &volume.allow);
    if !volume.read_only.value {
        table.list(&key("allow_write"), &volume.allow_write);
    }
    table.word(&key("squash"), &volume.squash, |value| value.as_str());
    table.plain(&key("anonymous_uid"), &volume.anonymous_uid);
    table.plain(&key("anonymous_gid"), &volume.anonymous_gid);
    if !volume.tokens.value.is_empty() {
        table.add(&key("tokens"), &volume.tokens, |tokens| {
            let stars: Vec<String> = tokens
                .iter()
                .map(|(secret, _)| format!("\"{secret}\""))
                .collect();
            format!("[{}]", stars.join(", "))
        });
    }
    if volume.kind.value == VolumeKind::Cache {
        table.add(&key("size_max"), &volume.size_max, |size| match size {
            None => "none".to_owned(),
            Some(bytes) => size_text(*bytes),
        });
        table.add(&key("age_max"), &volume.age_max, |age| match age {
            None => "none".to_owned(),
            Some(age) => period_text(age),
        });
    }
}

impl Volume {
    /// Whether only this host may reach it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        is_loopback_only(&self.allow.value) && is_loopback_only(&self.allow_write.value)
    }
}

impl VolumeKind {
    /// The word of the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Project => "project",
            Self::Cache => "cache",
        }
    }
}

impl Squash {
    /// The word of the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::All => "all",
            Self::None => "none",
        }
    }
}

struct Table(Vec<Row>);

impl Table {
    fn add<T>(&mut self, key: &str, setting: &Setting<T>, show: impl Fn(&T) -> String) {
        self.0.push(Row {
            key: key.to_owned(),
            value: show(&setting.value),
            origin: setting.origin.clone(),
        });
    }

    fn plain<T: Display>(&mut self, key: &str, setting: &Setting<T>) {
        self.add(key, setting, T::to_string);
    }

    fn text(&mut self, key: &str, setting: &Setting<String>) {
        self.add(key, setting, |text| format!("\"{}\"", text.escape_debug()));
    }

    fn path(&mut self, key: &str, setting: &Setting<impl AsRef<Path>>) {
        self.add(key, setting, |path| {
            format!("\"{}\"", path.as_ref().display().to_string().escape_debug())
        });
    }

    fn word<T: Copy>(&mut self, key: &str, setting: &Setting<T>, word: fn(T) -> &'static str) {
        self.add(key, setting, |value| format!("\"{}\"", word(*value)));
    }

    fn list<T: Display>(&mut self, key: &str, setting: &Setting<Vec<T>>) {
        self.add(key, setting, |list| {
            let quoted: Vec<String> = list.iter().map(|one| format!("\"{one}\"")).collect();
            format!("[{}]", quoted.join(", "))
        });
    }

    fn bytes(&mut self, key: &str, setting: &Setting<u64>) {
        self.add(key, setting, |bytes| size_text(*bytes));
    }

    fn period(&mut self, key: &str, setting: &Setting<Duration>) {
        self.add(key, setting, period_text);
    }
}

/// A size that reads back as the same number.
fn size_text(bytes: u64) -> String {
    let shown = ByteCount(bytes).to_string();
    match shown.parse() {
        Ok(ByteCount(same)) if same == bytes => format!("\"{shown}\""),
        Ok(_) | Err(_) => bytes.to_string(),
    }
}

fn period_text(value: &Duration) -> String {
    format!("\"{}\"", period::format(*value))
}
