//! The rules for volumes: names, kinds, paths, who may reach them, tokens.
//!
//! Invariant: no two volumes have the same directory or names that differ only in case (they
//! would be one drive on Windows), and a model volume is never writable.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use crate::checker::{Checker, loopback};
use crate::effective::{Setting, Squash, TokenReach, Volume, VolumeKind};
use crate::file::{self, At};
use crate::nearest::nearest;
use crate::secret::Secret;

/// Most volumes of a node: each holds two descriptors and a row on every page.
pub(crate) const VOLUMES_MAX: usize = 256;

/// Longest name of a volume, in bytes: it is part of URLs, export paths and mount points.
const NAME_BYTES_MAX: usize = 64;

/// Shortest token, in bytes: 16 random letters and digits hold 95 bits.
const TOKEN_BYTES_MIN: usize = 16;

/// Longest token, in bytes: it must fit in a request head with everything else.
const TOKEN_BYTES_MAX: usize = 1_024;

/// Most tokens of a volume: every one is compared at every request.
const TOKENS_MAX: usize = 256;

/// Largest token file, in bytes: [`TOKENS_MAX`] tokens of full length.
const TOKENS_FILE_BYTES_MAX: u64 = (TOKENS_MAX * (TOKEN_BYTES_MAX + 8)) as u64;

/// uid and gid that stand for nobody (RFC 1813 leaves them open; Linux uses 65534).
const NOBODY: u32 = 65_534;

const KINDS: [(&str, VolumeKind); 3] = [
    ("model", VolumeKind::Model),
    ("project", VolumeKind::Project),
    ("cache", VolumeKind::Cache),
];

/// Volumes that a node has when the file names none, and kinds that these names imply.
const DEFAULTS: [(&str, VolumeKind); 3] = [
    ("models", VolumeKind::Model),
    ("projects", VolumeKind::Project),
    ("cache", VolumeKind::Cache),
];

/// All volumes: those of the file, or the default ones.
pub(crate) fn volumes(
    check: &mut Checker<'_>,
    tables: Option<&BTreeMap<Spanned<String>, file::Volume>>,
    data: &Path,
) -> Vec<Volume> {
    let Some(tables) = tables else {
        let default = file::Volume::default();
        let all = DEFAULTS.iter();
        return all
            .map(|(name, _)| volume(check, name, None, &default, data))
            .collect();
    };
    let mut tables: Vec<_> = tables.iter().collect();
    tables.sort_by_key(|(name, _)| name.span().start);
    if let Some((name, _)) = tables.get(VOLUMES_MAX) {
        let start = name.span().start;
        check.refuse(
            start,
            "volumes",
            format!("there are more than {VOLUMES_MAX} volumes"),
            "put several folders into one volume",
        );
        tables.truncate(VOLUMES_MAX);
    }
    let mut list: Vec<Volume> = Vec::new();
    for (name, table) in tables {
        name_rules(check, name, &list);
        let made = volume(check, name.get_ref(), Some(name), table, data);
        duplicate_path(check, table, &made, &list);
        list.push(made);
    }
    list
}

fn name_rules(check: &mut Checker<'_>, name: &Spanned<String>, earlier: &[Volume]) {
    let (start, text) = (name.span().start, name.get_ref().as_str());
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let valid = (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.bytes().all(is_part)
        && text.starts_with(|first: char| first.is_ascii_alphanumeric());
    if !valid {
        let shown: String = text.chars().take(NAME_BYTES_MAX).collect();
        check.refuse(
            start,
            "volumes",
            format!(
                "\"{}\" cannot be the name of a volume",
                shown.escape_debug()
            ),
            "write 1 to 64 letters, digits, '-', '_' or '.', beginning with a letter or digit",
        );
    }
    if let Some(other) = earlier
        .iter()
        .find(|other| other.name.eq_ignore_ascii_case(text))
    {
        let what = format!("the name differs from \"{}\" only in case", other.name);
        check.refuse(
            start,
            &format!("volumes.{text}"),
            what,
            "choose another name",
        );
    }
}

fn volume(
    check: &mut Checker<'_>,
    name: &str,
    header: Option<&Spanned<String>>,
    table: &file::Volume,
    data: &Path,
) -> Volume {
    let key = |key: &str| format!("volumes.{name}.{key}");
    let kind = kind(check, name, header, table);
    let is_model = kind.value == VolumeKind::Model;
    let mut read_only = check.any(&table.read_only, is_model);
    if let Some(at) = table.read_only.as_ref().filter(|_| is_model)
        && !read_only.value
    {
        check.refuse(
            at.span().start,
            &key("read_only"),
            "a model volume is always read-only",
            "remove the key, or write kind = \"project\"",
        );
        read_only.value = true;
    }
    let allow = check.networks(&table.allow, &key("allow"));
    let mut allow_write = check.networks(&table.allow_write, &key("allow_write"));
    if table.allow_write.is_none() {
        allow_write = allow.clone();
    }
    let squashes = [
        ("root", Squash::Root),
        ("all", Squash::All),
        ("none", Squash::None),
    ];
    let ids = 0..=u32::MAX - 1;
    let path = path(check, name, table, data);
    let require_mount = require_mount(check, &key("require_mount"), table, &path.value);
    Volume {
        name: name.to_owned(),
        line: header.and_then(|at| match check.here(at, ()).origin {
            crate::effective::Origin::File(line) => Some(line),
            crate::effective::Origin::Default | crate::effective::Origin::CommandLine(_) => None,
        }),
        path,
        require_mount,
        read_only,
        allow,
        allow_write,
        squash: check.word(&table.squash, &key("squash"), Squash::Root, &squashes),
        anonymous_uid: check.number(
            &table.anonymous_uid,
            &key("anonymous_uid"),
            NOBODY,
            ids.clone(),
        ),
        anonymous_gid: check.number(&table.anonymous_gid, &key("anonymous_gid"), NOBODY, ids),
        tokens: tokens(check, &key("tokens"), table),
        size_max: size_max(check, &key("size_max"), kind.value, table),
        age_max: age_max(check, &key("age_max"), kind.value, table),
        kind,
    }
}

fn kind(
    check: &mut Checker<'_>,
    name: &str,
    header: Option<&Spanned<String>>,
    table: &file::Volume,
) -> Setting<VolumeKind> {
    let implied = DEFAULTS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, kind)| *kind);
    if let (None, None, Some(at)) = (&table.kind, implied, header) {
        check.refuse(
            at.span().start,
            &format!("volumes.{name}.kind"),
            "the volume has no kind",
            "write kind = \"model\" (read-only), \"project\" (read-write, durable) or \
             \"cache\" (read-write, fast)",
        );
    }
    let default = implied.unwrap_or(VolumeKind::Model);
    check.word(
        &table.kind,
        &format!("volumes.{name}.kind"),
        default,
        &KINDS,
    )
}

/// A path that is named exists; the default one is made when the node starts.
fn path(
    check: &mut Checker<'_>,
    name: &str,
    table: &file::Volume,
    data: &Path,
) -> Setting<PathBuf> {
    let Some(at) = &table.path else {
        return Setting::default_of(data.join(name));
    };
    let path = check.path(at);
    if !path.value.is_dir() {
        let shown = path.value.display();
        let (what, instead) = if path.value.exists() {
            (
                format!("{shown} is not a directory"),
                "name a directory".to_owned(),
            )
        } else {
            let near = neighbour(&path.value);
            (format!("{shown} does not exist"), near)
        };
        check.refuse(
            at.span().start,
            &format!("volumes.{name}.path"),
            what,
            instead,
        );
    }
    path
}

/// A folder that waits for its disk must have it: an empty mount point looks like a volume that
/// has lost everything, and what is written to it is hidden once the disk is there.
fn require_mount(
    check: &mut Checker<'_>,
    key: &str,
    table: &file::Volume,
    path: &Path,
) -> Setting<bool> {
    let required = check.any(&table.require_mount, false);
    if let Some(at) = &table.require_mount
        && required.value
        && path.is_dir()
        && !is_mount_point(path)
    {
        check.refuse(
            at.span().start,
            key,
            format!("no file system is mounted at {}", path.display()),
            "mount its disk first (a line in /etc/fstab, RequiresMountsFor= in the systemd unit), \
             or remove the key",
        );
    }
    required
}

/// Whether a directory is where a file system is mounted: what is above it is another mount.
fn is_mount_point(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let Ok(path) = path.canonicalize() else {
        return false;
    };
    let Some(above) = path.parent() else {
        return true;
    };
    let device = |path: &Path| std::fs::metadata(path).map(|data| (data.dev(), data.ino()));
    match (device(&path), device(above)) {
        (Ok(own), Ok(above)) if own.0 != above.0 => true,
        // A bind mount of the same file system has the same device: the kernel's table tells.
        (Ok(_), Ok(_)) => mounted_at(&path),
        _ => false,
    }
}

/// Whether the kernel's table of mounts names a directory (proc(5), `mountinfo`, fifth field).
fn mounted_at(path: &Path) -> bool {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let shown = path.to_string_lossy().replace(' ', "\\040");
    table
        .lines()
        .any(|line| line.split(' ').nth(4) == Some(&shown))
}

/// What to write instead of a directory that is not there.
fn neighbour(path: &Path) -> String {
    let entries = path
        .parent()
        .and_then(|parent| std::fs::read_dir(parent).ok());
    let names: Vec<String> = entries
        .into_iter()
        .flatten()
        .take(1_000)
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let wanted = path.file_name().map(|name| name.to_string_lossy());
    match wanted.and_then(|wanted| nearest(&wanted, &names).map(str::to_owned)) {
        Some(near) => format!("did you mean {}?", path.with_file_name(near).display()),
        None => format!("make it with: mkdir -p {}", path.display()),
    }
}

fn duplicate_path(
    check: &mut Checker<'_>,
    table: &file::Volume,
    made: &Volume,
    earlier: &[Volume],
) {
    let place = |volume: &Volume| {
        let path = &volume.path.value;
        path.canonicalize().unwrap_or_else(|_| path.clone())
    };
    let own = place(made);
    if let Some(other) = earlier.iter().find(|other| place(other) == own) {
        let start = table.path.as_ref().map_or(0, |at| at.span().start);
        check.refuse(
            start,
            &format!("volumes.{}.path", made.name),
            format!("volume \"{}\" has the same directory", other.name),
            "give each volume a directory of its own",
        );
    }
}

fn tokens(
    check: &mut Checker<'_>,
    key: &str,
    table: &file::Volume,
) -> Setting<Vec<(Secret, TokenReach)>> {
    let mut found = Setting::default_of(Vec::new());
    if let Some(at) = &table.tokens {
        found = check.here(at, Vec::new());
        for written in at.get_ref() {
            token(
                check,
                written.span().start,
                key,
                written.get_ref(),
                &mut found.value,
            );
        }
    }
    if let Some(at) = &table.tokens_file {
        let (start, path) = (at.span().start, check.path(at).value);
        let key = format!("{key}_file");
        let size = std::fs::metadata(&path).map_or(0, |data| data.len());
        let text = std::fs::read_to_string(&path);
        match text {
            Ok(text) if size <= TOKENS_FILE_BYTES_MAX => {
                found.origin = check.here(at, ()).origin;
                let lines = text.lines().map(str::trim);
                for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
                    token(check, start, &key, line, &mut found.value);
                }
            }
            Ok(_) | Err(_) => {
                let what = format!("cannot read tokens from {}", path.display());
                let instead = "name a text file with one token on each line";
                check.refuse(start, &key, what, instead);
            }
        }
    }
    let named = table.tokens.is_some() || table.tokens_file.is_some();
    if named && found.value.is_empty() && check.problems.is_empty() {
        let start = place_of(&table.tokens).or(place_of(&table.tokens_file));
        check.refuse(
            start.unwrap_or(0),
            key,
            "there is no token in it",
            "write at least one, or remove the key to let the address alone decide",
        );
    }
    found
}

fn place_of<T>(at: &At<T>) -> Option<usize> {
    at.as_ref().map(|at| at.span().start)
}

/// `SECRET` and `write:SECRET` open for writing, `read:SECRET` for reading.
fn token(
    check: &mut Checker<'_>,
    start: usize,
    key: &str,
    written: &str,
    list: &mut Vec<(Secret, TokenReach)>,
) {
    let (secret, reach) = match written.split_once(':') {
        Some(("read", secret)) => (secret, TokenReach::Read),
        Some(("write", secret)) => (secret, TokenReach::Write),
        Some(_) | None => (written, TokenReach::Write),
    };
    let fits = (TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&secret.len());
    if !fits || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        check.refuse(
            start,
            key,
            "a token is too short, too long, or holds spaces or letters outside ASCII",
            "write 16 to 1024 visible characters; make one with: openssl rand -hex 24",
        );
        return;
    }
    if list.len() == TOKENS_MAX {
        check.refuse(
            start,
            key,
            format!("there are more than {TOKENS_MAX} tokens"),
            "remove those that nobody uses",
        );
        return;
    }
    list.push((Secret::new(secret.to_owned()), reach));
}

fn size_max(
    check: &mut Checker<'_>,
    key: &str,
    kind: VolumeKind,
    table: &file::Volume,
) -> Setting<Option<u64>> {
    let Some(at) = &table.size_max else {
        return Setting::default_of(None);
    };
    cache_only(check, at.span().start, key, kind);
    let bytes = check.bytes(&table.size_max, key, 0, 1 << 20..=i64::MAX as u64);
    Setting {
        value: Some(bytes.value),
        origin: bytes.origin,
    }
}

fn age_max(
    check: &mut Checker<'_>,
    key: &str,
    kind: VolumeKind,
    table: &file::Volume,
) -> Setting<Option<Duration>> {
    let Some(at) = &table.age_max else {
        return Setting::default_of(None);
    };
    cache_only(check, at.span().start, key, kind);
    let range = Duration::from_secs(60)..=Duration::from_secs(36_500 * 86_400);
    let age = check.period(&table.age_max, key, Duration::ZERO, range);
    Setting {
        value: Some(age.value),
        origin: age.origin,
    }
}

fn cache_only(check: &mut Checker<'_>, start: usize, key: &str, kind: VolumeKind) {
    if kind != VolumeKind::Cache {
        check.refuse(
            start,
            key,
            "only a cache has a bound",
            "remove the key, or write kind = \"cache\"",
        );
    }
}

/// What the volumes are open to when nobody says anything; for tests and the table of settings.
#[must_use]
pub(crate) fn is_loopback_only(list: &[ipnet::IpNet]) -> bool {
    list == loopback()
}
