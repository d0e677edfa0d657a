//! What an operator writes and what comes of it: every message, every origin, every default.
//!
//! The messages are compared whole, because they are the product: place, key, what is wrong,
//! what to write instead.

use std::path::PathBuf;

use towline_config::{Effective, Origin, Overrides, Surroundings, TokenReach, VolumeKind, show};

fn around() -> Surroundings {
    Surroundings {
        is_root: false,
        home: Some(PathBuf::from("/home/someone")),
        data_home: None,
        host: "node-1".to_owned(),
    }
}

/// Loads `text` as a file in a folder where the directory `there` and the file `plain` exist.
fn load(text: &str, change: impl Fn(&mut Overrides)) -> Result<Effective, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let inside = |name: &str| folder.path().join(name);
    let written = std::fs::create_dir(inside("there"))
        .and_then(|()| std::fs::create_dir(inside("elsewhere")))
        .and_then(|()| std::fs::write(inside("plain"), "a-token-of-24-characters\n"))
        .and_then(|()| std::fs::write(inside("t.toml"), text));
    written.map_err(|error| error.to_string())?;
    let mut overrides = Overrides {
        config: Some(inside("t.toml")),
        ..Overrides::default()
    };
    change(&mut overrides);
    let here = format!("{}/", folder.path().display());
    Effective::load(&overrides, &around()).map_err(|error| error.to_string().replace(&here, ""))
}

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

#[test]
fn s3_is_off_until_it_has_a_port() {
    let settings = load("", |_| {}).unwrap();
    assert_eq!(settings.listen.s3_port.value, None);
    let key = "[[s3.keys]]\nid = \"AKID\"\nsecret = \"0123456789abcdef\"\n";
    let idle = load(key, |_| {}).unwrap();
    assert!(idle.notes.iter().any(|note| note.contains("s3_port")));
    let settings = load(&format!("[listen]\ns3_port = 8422\n{key}"), |_| {}).unwrap();
    assert_eq!(settings.listen.s3_port.value, Some(8422));
    assert_eq!(settings.s3_keys[0].secret.expose(), "0123456789abcdef");
    let shown: Vec<String> = show::rows(&settings)
        .iter()
        .map(|row| format!("{} = {}", row.key, row.value))
        .collect();
    assert!(shown.contains(&"s3.keys.id = \"AKID\"".to_owned()));
    assert!(shown.contains(&"s3.keys.secret = \"***\"".to_owned()));
}

#[test]
fn the_hub_has_a_port_of_its_own_where_one_is_named() {
    assert_eq!(load("", |_| {}).unwrap().listen.hub_port.value, None);
    let settings = load("[listen]\nhub_port = 8423\n", |_| {}).unwrap();
    assert_eq!(settings.listen.hub_port.value, Some(8423));
    let rows = show::rows(&settings);
    assert!(
        rows.iter()
            .any(|row| row.key == "listen.hub_port" && row.value == "8423")
    );
    let text = load("[listen]\ns3_port = 8422\nhub_port = 8422\n", |_| {}).unwrap_err();
    let wanted = "t.toml:3:12: listen.hub_port: S3 has port 8422 already";
    assert!(text.contains(wanted), "{text}");
}

#[test]
fn keys_of_s3_are_judged_and_never_shown() {
    for (text, wanted) in [
        (
            "[listen]\ns3_port = 8420\n",
            "t.toml:2:11: listen.s3_port: HTTP has port 8420 already",
        ),
        (
            "[[s3.keys]]\nid = \"a\"\n",
            "t.toml:1:1: s3.keys: id and secret belong together",
        ),
        (
            "[[s3.keys]]\nid = \"a/b\"\nsecret = \"0123456789abcdef\"\n",
            "t.toml:2:6: s3.keys.id: that is not the id of a key",
        ),
        (
            "[[s3.keys]]\nid = \"a\"\nsecret = \"short\"\n",
            "t.toml:3:10: s3.keys.secret: the secret is too short",
        ),
        (
            "[[s3.keys]]\nid = \"a\"\nsecret = 12345678901234\n",
            "t.toml:3:10: s3.keys.secret: a secret is a text",
        ),
        (
            "[[s3.keys]]\nid = \"a\"\nsecrets = \"0123456789abcdef\"\n",
            "did you mean 'secret'?",
        ),
    ] {
        let error = load(text, |_| {}).unwrap_err();
        assert!(error.contains(wanted), "{error}");
        assert!(
            !error.contains("short\"") && !error.contains("1234567890"),
            "{error}"
        );
    }
}

#[test]
fn tokens_that_publish_are_judged_and_never_shown() {
    let text = "[[models.tokens]]\ntoken = \"0123456789abcdef\"\nprefix = \"acme/\"\n";
    let settings = load(text, |_| {}).unwrap();
    assert_eq!(settings.models.tokens[0].prefix.value, "acme/");
    let rows = show::rows(&settings);
    let shown = rows.iter().find(|row| row.key == "models.tokens.token");
    assert_eq!(shown.map(|row| row.value.as_str()), Some("\"***\""));
    for (text, wanted) in [
        (
            "[[models.tokens]]\ntoken = \"0123456789abcdef\"\n",
            "t.toml:1:1: models.tokens: token and prefix belong together",
        ),
        (
            "[[models.tokens]]\ntoken = \"short\"\nprefix = \"\"\n",
            "t.toml:2:9: models.tokens.token: a token is too short",
        ),
        (
            "[[models.tokens]]\ntoken = \"0123456789abcdef\"\nprefix = \"\"\nrights = \"all\"\n",
            "t.toml:4:10: models.tokens.rights: \"all\" is not known here",
        ),
        (
            "[[models.tokens]]\ntoken = \"0123456789abcdef\"\nprefix = \"/acme\"\n",
            "t.toml:3:10: models.tokens.prefix: no name of a model begins like that",
        ),
        (
            "[[models.tokens]]\ntoken = 12345678901234567\nprefix = \"\"\n",
            "t.toml:2:9: models.tokens.token:",
        ),
    ] {
        let error = load(text, |_| {}).unwrap_err();
        assert!(error.contains(wanted), "{error}");
        assert!(
            !error.contains("0123456789") && !error.contains("1234567890"),
            "{error}"
        );
    }
}

#[test]
fn signatures_are_demanded_only_where_a_key_is_named() {
    let key = format!("ed25519:{}", "0a".repeat(32));
    let text = format!("[models]\nrequire_signature = true\ntrusted_keys = [\"{key} alice\"]\n");
    let settings = load(&text, |_| {}).unwrap();
    assert!(settings.models.require_signature.value);
    assert_eq!(settings.models.trusted_keys.value[0].key, [10; 32]);
    assert_eq!(settings.models.trusted_keys.value[0].name, "alice");
    let rows = show::rows(&settings);
    let shown = rows.iter().find(|row| row.key == "models.trusted_keys");
    let wanted = format!("[\"{key} alice\"]");
    assert_eq!(shown.map(|row| row.value.as_str()), Some(wanted.as_str()));
    let signing = load("[models]\nsigning_key = \"plain\"\n", |_| {}).unwrap();
    assert!(signing.models.signing_key.value.is_some());
    for (text, wanted) in [
        (
            "[models]\nrequire_signature = true\n".to_owned(),
            "t.toml:2:21: models.require_signature: no key is trusted",
        ),
        (
            format!("[models]\ntrusted_keys = [\"{key}0\"]\n"),
            "t.toml:2:17: models.trusted_keys: that is not a public key",
        ),
        (
            "[models]\nsigning_key = \"nowhere\"\n".to_owned(),
            "t.toml:2:15: models.signing_key: there is no file nowhere",
        ),
    ] {
        let error = load(&text, |_| {}).unwrap_err();
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn a_token_reads_or_publishes_and_a_key_of_s3_names_what_it_may_read() {
    let text = "[listen]\ns3_port = 8422\n[[models.tokens]]\ntoken = \"0123456789abcdef\"\n\
                prefix = \"acme/\"\nrights = \"read\"\n[[s3.keys]]\nid = \"a\"\n\
                secret = \"0123456789abcdef\"\nprefixes = [\"acme/\"]\n";
    let settings = load(text, |_| {}).unwrap();
    let token = &settings.models.tokens[0];
    assert_eq!(token.rights.value, towline_config::ModelRights::Read);
    assert_eq!(settings.s3_keys[0].prefixes, ["acme/"]);
    let rows = show::rows(&settings);
    let rows: Vec<String> = rows
        .iter()
        .map(|row| format!("{} = {}", row.key, row.value))
        .collect();
    for wanted in [
        "models.tokens.rights = \"read\"",
        "s3.keys.prefixes = [\"acme/\"]",
    ] {
        assert!(rows.contains(&wanted.to_owned()), "{rows:?}");
    }
}
