//! What an operator writes and what comes of it: every message, every origin, every default.
//!
//! The messages are compared whole, because they are the product: place, key, what is wrong,
//! what to write instead.

use crate::given::{around, load};
use towline_config::{Effective, Origin, Overrides, TokenReach, VolumeKind, show};

#[test]
fn without_a_file_there_are_three_volumes_on_loopback() {
    let settings = Effective::load(&Overrides::default(), &around()).unwrap();
    let volumes: Vec<_> = settings
        .volumes
        .iter()
        .map(|volume| {
            let path = volume.path.value.display().to_string();
            (
                volume.name.as_str(),
                volume.kind.value,
                path,
                volume.read_only.value,
            )
        })
        .collect();
    let path = |name: &str| format!("/home/someone/.local/share/towline/{name}");
    assert_eq!(
        volumes,
        [
            ("models", VolumeKind::Model, path("models"), true),
            ("projects", VolumeKind::Project, path("projects"), false),
            ("cache", VolumeKind::Cache, path("cache"), false),
        ]
    );
    assert!(settings.volumes.iter().all(|volume| volume.is_local()));
    assert_eq!(
        settings.listen.addresses.value,
        ["127.0.0.1".parse::<std::net::IpAddr>().unwrap()]
    );
    assert_eq!(
        (
            settings.listen.http_port.value,
            settings.listen.nfs_port.value
        ),
        (8420, 2049)
    );
    assert!(settings.listen.nfs_port.is_default() && settings.notes.is_empty());
    assert_eq!(settings.node.name.value, "node-1");
}

#[test]
fn every_mistake_is_told_with_its_place_and_what_to_write_instead() {
    let volume = |rest: &str| format!("[volumes.a]\nkind = \"project\"\n{rest}\n");
    for (text, message) in [
        (
            "[liste]\n",
            "t.toml:1:2: liste: unknown key; did you mean 'listen'?".to_owned(),
        ),
        (
            "[listen]\nhttp_prot = 1\n",
            "t.toml:2:1: listen.http_prot: unknown key; did you mean 'http_port'?".to_owned(),
        ),
        (
            "[log]\ncolour = 1\n",
            "t.toml:2:1: log.colour: unknown key; known here: format, level".to_owned(),
        ),
        (
            "[tune]\nanswr = true\n",
            "t.toml:2:1: tune.answr: unknown key; did you mean 'answer'?".to_owned(),
        ),
        (
            "[tune]\nport = 8420\n",
            "t.toml:2:8: tune.port: HTTP has port 8420 already; \
             give one of them another port, or write answer = false"
                .to_owned(),
        ),
        (
            "[listen]\nhttp_port = 70000\n",
            "t.toml:2:13: listen.http_port: 70000 is out of range; write a number from 0 to 65535"
                .to_owned(),
        ),
        (
            "[io]\nengine = \"urign\"\n",
            "t.toml:2:10: io.engine: \"urign\" is not known here; did you mean \"uring\"?"
                .to_owned(),
        ),
        (
            "[io]\nengine = \"x\"\n",
            "t.toml:2:10: io.engine: \"x\" is not known here; \
             write \"auto\" or \"uring\" or \"portable\""
                .to_owned(),
        ),
        (
            "[io]\nworkers = 0\n",
            "t.toml:2:11: io.workers: 0 is no number of workers; \
             write \"auto\" for one per core, or a number from 1 to 256"
                .to_owned(),
        ),
        (
            "[limits]\nreceive_budget = \"1KiB\"\n",
            "t.toml:2:18: limits.receive_budget: \"1KiB\" is not a size that is possible here; \
             write a number and a unit like \"512MiB\", from 4 MiB to 1 TiB"
                .to_owned(),
        ),
        (
            "[limits]\nidle_timeout = \"60\"\n",
            "t.toml:2:16: limits.idle_timeout: \"60\" is not a time that is possible here; \
             write a number and a unit like \"30s\" or \"7d\", from 1s to 1d"
                .to_owned(),
        ),
        (
            "[listen]\naddresses = [\"localhost\"]\n",
            "t.toml:2:14: listen.addresses: \"localhost\" is not an address; write addresses of \
             this host without a port, or \"0.0.0.0\" for all of them"
                .to_owned(),
        ),
        (
            "[tls]\nkey = \"plain\"\n",
            "t.toml:1:1: tls: certificate and key belong together; \
             write both as paths of PEM files, or leave the table out"
                .to_owned(),
        ),
        (
            "[tls]\nkey = \"plain\"\ncertificate = \"gone\"\n",
            "t.toml:3:15: tls.certificate: gone is not a file; name a PEM file".to_owned(),
        ),
        (
            &volume("path = \"there\"\nalow = []"),
            "t.toml:4:1: volumes.a.alow: unknown key; did you mean 'allow'?".to_owned(),
        ),
        (
            &volume("allow = [\"10.0.0.0/24\", \"10.0.0.0/33\"]"),
            "t.toml:3:25: volumes.a.allow: \"10.0.0.0/33\" is not an address or range of \
             addresses; write an address (\"10.0.0.5\"), a range (\"10.0.0.0/24\") or \"any\""
                .to_owned(),
        ),
        (
            &volume("path = \"gone\""),
            "t.toml:3:8: volumes.a.path: gone does not exist; make it with: mkdir -p gone"
                .to_owned(),
        ),
        (
            &volume("path = \"ther\""),
            "t.toml:3:8: volumes.a.path: ther does not exist; did you mean there?".to_owned(),
        ),
        (
            &volume("path = \"plain\""),
            "t.toml:3:8: volumes.a.path: plain is not a directory; name a directory".to_owned(),
        ),
        (
            "[volumes.a]\npath = \"there\"\n",
            "t.toml:1:10: volumes.a.kind: the volume has no kind; write kind = \"model\" \
             (read-only), \"project\" (read-write, durable) or \"cache\" (read-write, fast)"
                .to_owned(),
        ),
        (
            "[volumes.models]\nread_only = false\n",
            "t.toml:2:13: volumes.models.read_only: a model volume is always read-only; \
             remove the key, or write kind = \"project\""
                .to_owned(),
        ),
        (
            &volume(
                "path = \"there\"\n[volumes.b]\nkind = \"cache\"\npath = \"elsewhere/../there\"",
            ),
            "t.toml:6:8: volumes.b.path: volume \"a\" has the same directory; \
             give each volume a directory of its own"
                .to_owned(),
        ),
        (
            &volume("path = \"there\"\n[volumes.A]\nkind = \"cache\"\npath = \"elsewhere\""),
            "t.toml:4:10: volumes.A: the name differs from \"a\" only in case; \
             choose another name"
                .to_owned(),
        ),
        (
            "[volumes.\"../x\"]\nkind = \"cache\"\npath = \"there\"\n",
            "t.toml:1:10: volumes: \"../x\" cannot be the name of a volume; write 1 to 64 \
             letters, digits, '-', '_' or '.', beginning with a letter or digit"
                .to_owned(),
        ),
        (
            &volume("size_max = \"1GiB\""),
            "t.toml:3:12: volumes.a.size_max: only a cache has a bound; \
             remove the key, or write kind = \"cache\""
                .to_owned(),
        ),
        (
            &volume("anonymous_uid = -1"),
            "t.toml:3:17: volumes.a.anonymous_uid: -1 is out of range; \
             write a number from 0 to 4294967294"
                .to_owned(),
        ),
        (
            &volume("tokens = [\"short\"]"),
            "t.toml:3:11: volumes.a.tokens: a token is too short, too long, or holds spaces or \
             letters outside ASCII; write 16 to 1024 visible characters; make one with: openssl \
             rand -hex 24"
                .to_owned(),
        ),
        (
            &volume("tokens = []"),
            "t.toml:3:10: volumes.a.tokens: there is no token in it; \
             write at least one, or remove the key to let the address alone decide"
                .to_owned(),
        ),
    ] {
        let told = load(text, |_| {}).map(|_| ()).unwrap_err();
        assert_eq!(told, message, "{text}");
    }
}

#[test]
fn a_file_that_is_not_toml_or_has_a_wrong_type_is_told_at_its_place() {
    for (text, start) in [
        ("[listen\n", "t.toml:1:8: "),
        (
            "[listen]\nhttp_port = \"80\"\n",
            "t.toml:2:13: listen.http_port: that is a text, and a whole number belongs there",
        ),
        ("[node]\nname = \"a\"\nname = \"b\"\n", "t.toml:3:1: "),
        (
            "[volumes]\na = 1\n",
            "t.toml:2:5: volumes.a: that is a whole number, and a table",
        ),
    ] {
        let told = load(text, |_| {}).map(|_| ()).unwrap_err();
        assert!(told.starts_with(start), "{told}");
    }
    let gone = |overrides: &mut Overrides| overrides.config = Some("/nowhere/t.toml".into());
    let told = load("", gone).map(|_| ()).unwrap_err();
    assert!(
        told.starts_with("/nowhere/t.toml: cannot read the file"),
        "{told}"
    );
}

#[test]
fn all_mistakes_of_a_file_are_told_at_once() {
    let text = "[io]\nengine = \"x\"\n[log]\nlevel = \"loud\"\n";
    let told = load(text, |overrides| overrides.allow = vec!["lan".to_owned()]);
    let told = told.map(|_| ()).unwrap_err();
    assert_eq!(told.lines().count(), 3, "{told}");
    assert!(
        told.contains("--allow: \"lan\" is not an address"),
        "{told}"
    );
}

#[test]
fn the_command_line_wins_over_the_file_and_the_origin_is_kept() {
    let text = "[node]\nname = \"n\"\n\n[listen]\nhttp_port = 1\nnfs_port = 2\n";
    let settings = load(text, |overrides| {
        overrides.http_port = Some(3);
        overrides.data = Some("there".into());
    })
    .unwrap();
    let row = |key: &str| {
        let rows = show::rows(&settings);
        let found = rows.into_iter().find(|row| row.key == key).unwrap();
        (found.value, found.origin)
    };
    let option = |name| Origin::CommandLine(name);
    assert_eq!(row("node.name"), ("\"n\"".to_owned(), Origin::File(2)));
    assert_eq!(
        row("listen.http_port"),
        ("3".to_owned(), option("--http-port"))
    );
    assert_eq!(row("listen.nfs_port"), ("2".to_owned(), Origin::File(6)));
    assert_eq!(row("node.data"), ("\"there\"".to_owned(), option("--data")));
    assert_eq!(row("log.level"), ("\"info\"".to_owned(), Origin::Default));
    assert_eq!(row("limits.idle_timeout").0, "\"1min\"");
    assert_eq!(row("limits.receive_budget").0, "\"128 MiB\"");
}

#[test]
fn allow_opens_every_volume_beside_what_is_open() {
    let settings = load("", |overrides| {
        overrides.allow = vec!["10.0.0.0/24".to_owned()]
    })
    .unwrap();
    for volume in &settings.volumes {
        let shown = format!("{:?}", volume.allow_write.value);
        assert_eq!(shown, "[127.0.0.0/8, ::1/128, 10.0.0.0/24]");
        assert_eq!(volume.allow.value, volume.allow_write.value);
    }
    assert_eq!(
        settings.notes.len(),
        1,
        "listens on loopback only: {:?}",
        settings.notes
    );
}

#[test]
fn listening_outside_with_nobody_allowed_starts_with_a_note() {
    let listen = |overrides: &mut Overrides| overrides.listen = vec!["0.0.0.0".parse().unwrap()];
    let settings = load("", listen).unwrap();
    assert!(settings.notes[0].contains("no volume is open to anybody outside"));
    let both = |overrides: &mut Overrides| {
        listen(overrides);
        overrides.allow = vec!["any".to_owned()];
    };
    assert!(load("", both).unwrap().notes.is_empty());
}

#[test]
fn who_may_read_may_write_unless_the_file_says_who_writes() {
    let text = "[volumes.projects]\nallow = [\"10.0.0.0/8\"]\n\
                [volumes.cache]\nallow = [\"10.0.0.0/8\"]\nallow_write = []\nsize_max = \"20GiB\"\n\
                age_max = \"7d\"\n";
    let settings = load(text, |_| {}).unwrap();
    let [projects, cache] = &settings.volumes[..] else {
        panic!("{:?}", settings.volumes)
    };
    assert_eq!(projects.allow_write.value, projects.allow.value);
    assert!(cache.allow_write.value.is_empty());
    assert_eq!(cache.size_max.value, Some(20 << 30));
    assert_eq!((projects.line, cache.line), (Some(1), Some(3)));
}

#[test]
fn tokens_come_from_the_file_or_from_their_own_and_never_show() {
    let text =
        "[volumes.projects]\ntokens = [\"read:0123456789abcdef\"]\ntokens_file = \"plain\"\n";
    let settings = load(text, |_| {}).unwrap();
    let tokens = &settings.volumes[0].tokens.value;
    assert_eq!(tokens[0].0.expose(), "0123456789abcdef");
    assert_eq!(
        (tokens[0].1, tokens[1].1),
        (TokenReach::Read, TokenReach::Write)
    );
    let told = load("[volumes.cache]\ntokens = \"0123456789abcdef\"\n", |_| {}).unwrap_err();
    let list =
        "t.toml:2:10: volumes.cache.tokens: tokens are a list of texts; write tokens = [\"...\"]";
    assert_eq!(told, list);
    let shown = format!("{settings:?} {:?}", show::rows(&settings));
    assert!(
        !shown.contains("0123456789abcdef") && !shown.contains("a-token-of-24"),
        "{shown}"
    );
    assert!(shown.contains("***"));
}

#[test]
fn both_faces_on_one_port_are_refused() {
    let told = load("[listen]\nhttp_port = 2049\n", |_| {})
        .map(|_| ())
        .unwrap_err();
    assert_eq!(
        told,
        "listen: HTTP and NFS both want port 2049; give one of them another port"
    );
}

#[test]
fn the_default_port_of_measurements_gives_way_and_a_chosen_one_does_not() {
    let silent = load("[tune]\nanswer = false\nport = 2049\n", |_| {}).unwrap();
    assert!(!silent.tune.answer.value);
    let beside = load("[listen]\nhttp_port = 8421\n", |_| {}).unwrap();
    assert!(beside.tune.port.is_default() && beside.tune.port.value == 8421);
    let any = load("[tune]\nport = 0\n", |_| {}).unwrap();
    assert_eq!(any.tune.port.value, 0);
    let rows = towline_config::show::rows(&any);
    let shown = |key: &str| {
        let mut rows = rows.iter();
        let row = rows.find(|row| row.key == key).unwrap();
        format!("{} {}", row.value, row.origin)
    };
    assert_eq!(shown("tune.answer"), "true default");
    assert_eq!(shown("tune.port"), "0 file, line 2");
}
