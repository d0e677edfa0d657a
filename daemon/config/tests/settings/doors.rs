//! What an operator writes of the doors to models and of who may use them: S3 and the hub, their
//! keys and tokens, and signatures.
//!
//! The messages are compared whole, because they are the product. Invariant: no secret is ever
//! shown.

use crate::given::load;
use towline_config::show;

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
