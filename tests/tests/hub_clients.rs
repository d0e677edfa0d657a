//! The hub's clients as they are: huggingface_hub of today and 0.36, HfFileSystem, transformers,
//! the Rust crates, and curl for every field that the others only use.
//!
//! Invariant: nothing but the node can be reached, and what a client fetched is compared with the
//! published folder byte for byte. Not promised: clients that cannot be installed; those skip.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use towline_tests::model::{self, NAME, Shelf};
use towline_tests::paths;
use towline_tests::process::{command, must_run};
use towline_tests::python::Python;
use towline_tests::skip::{impossible, unless_installed};

/// Longest time for one client, imports of large libraries on a busy machine included.
const CLIENT_LIMIT: Duration = Duration::from_secs(180);

/// An endpoint, and no way to anywhere else.
fn pointed(shelf: &Shelf, mut client: Command) -> Command {
    client.env("HF_ENDPOINT", shelf.endpoint());
    client
}

fn run(shelf: &Shelf, client: Command, arguments: &[&str]) -> Result<String> {
    let mut client = pointed(shelf, client);
    client.args(arguments);
    Ok(String::from_utf8(must_run(client, CLIENT_LIMIT)?)?)
}

fn folder(shelf: &Shelf, name: &str) -> Result<String> {
    let path = shelf.node.scratch().join(name);
    fs::create_dir_all(&path)?;
    Ok(path.display().to_string())
}

/// Everything that one line of huggingface_hub does: the library, then the command.
fn downloads(environment: &str) -> Result<()> {
    let Some(python) = Python::installed(environment)? else {
        return Ok(());
    };
    let shelf = Shelf::new()?;
    let home = folder(&shelf, "home")?;
    let home = Path::new(&home);
    let filled = folder(&shelf, "filled")?;
    let script = python.script("hub_download.py", home);
    let said = run(&shelf, script, &[NAME, &shelf.revision, &filled])?;
    let whole = said.lines().find_map(|line| line.strip_prefix("whole: "));
    shelf.judge(Path::new(whole.context(said.clone())?))?;
    shelf.judge(&Path::new(&filled).join("local"))?;
    let cold = format!("{filled}/cold/models--acme--tiny-llama/snapshots");
    shelf.judge(&Path::new(&cold).join(&shelf.revision))?;
    command_downloads(&shelf, &python)
}

/// `hf download`, in all the ways that people type it.
fn command_downloads(shelf: &Shelf, python: &Python) -> Result<()> {
    let home = folder(shelf, "command")?;
    let home = Path::new(&home);
    let hf = |arguments: &[&str]| run(shelf, python.program("hf", home), arguments);
    let commit = shelf.revision.as_str();
    for arguments in [
        &["download", NAME][..],
        &["download", NAME],
        &["download", NAME, "--revision", commit],
        &["download", NAME, "config.json", "sub dir/a+b.txt"],
        &["download", NAME, "--include", "*.json"],
    ] {
        hf(arguments).with_context(|| format!("{arguments:?}"))?;
    }
    let cached = home.join("hf/hub/models--acme--tiny-llama");
    shelf.judge(&cached.join("snapshots").join(commit))?;
    assert_eq!(fs::read_to_string(cached.join("refs/main"))?, commit);
    let local = home.join("local").display().to_string();
    hf(&["download", NAME, "--local-dir", &local])?;
    hf(&["download", NAME, "--local-dir", &local])?;
    shelf.judge(Path::new(&local))
}

#[test]
fn huggingface_hub_downloads_everything() -> Result<()> {
    downloads("hub")
}

#[test]
fn the_old_huggingface_hub_downloads_everything() -> Result<()> {
    downloads("hub-0.36")
}

#[test]
fn the_hubs_file_system_lists_and_reads_anywhere() -> Result<()> {
    let Some(python) = Python::installed("hub")? else {
        return Ok(());
    };
    let shelf = Shelf::new()?;
    let home = folder(&shelf, "home")?;
    let script = python.script("hub_filesystem.py", Path::new(&home));
    run(&shelf, script, &[NAME, &shelf.source.display().to_string()])?;
    Ok(())
}

#[test]
fn a_listing_of_two_pages_is_whole() -> Result<()> {
    const FILES: usize = 10_050;
    let Some(python) = Python::installed("hub")? else {
        return Ok(());
    };
    let shelf = Shelf::new()?;
    let many = folder(&shelf, "many")?;
    for number in 0..FILES {
        fs::write(format!("{many}/{number:05}.txt"), number.to_string())?;
    }
    let started = Instant::now();
    model::push(&shelf.node, Path::new(&many), "acme/many")?;
    eprintln!("{FILES} files were pushed in {:?}", started.elapsed());
    let home = folder(&shelf, "home")?;
    let script = python.script("hub_pages.py", Path::new(&home));
    run(&shelf, script, &["acme/many", &FILES.to_string()])?;
    Ok(())
}

#[test]
fn transformers_loads_configuration_and_tokenizer() -> Result<()> {
    let Some(python) = Python::installed("hub")? else {
        return Ok(());
    };
    let shelf = Shelf::new()?;
    let home = folder(&shelf, "home")?;
    let script = python.script("transformers_load.py", Path::new(&home));
    run(&shelf, script, &[NAME])?;
    Ok(())
}

#[test]
fn transformers_loads_weights() -> Result<()> {
    let Some(python) = Python::installed("hub")? else {
        return Ok(());
    };
    if !python.has("torch") {
        return impossible("torch is not installed: tests/run --full installs it");
    }
    let shelf = Shelf::new()?;
    let (home, made) = (folder(&shelf, "home")?, folder(&shelf, "made")?);
    let script = python.script("make_weights.py", Path::new(&home));
    run(&shelf, script, &[&made])?;
    model::push(&shelf.node, Path::new(&made), "acme/random")?;
    let script = python.script("transformers_load.py", Path::new(&home));
    let said = run(&shelf, script, &[NAME, "acme/random", &made])?;
    ensure!(said.contains("weights: "), "{said}");
    Ok(())
}

/// The second view of the store, mounted read-only, is a cache in which nothing is missing: no
/// endpoint is there at all.
#[test]
fn the_hub_volume_is_a_cache_that_clients_read_in_place() -> Result<()> {
    let Some(python) = Python::installed("hub")? else {
        return Ok(());
    };
    let shelf = Shelf::new()?;
    let home = folder(&shelf, "home")?;
    let cache = shelf.node.volume("models").join(".towline/hub");
    let script = python.script("transformers_load.py", Path::new(&home));
    let mut sandbox = Command::new("unshare");
    sandbox.args(["--mount", "sh", "-ec"]);
    // The whole tree is read-only for whoever runs below, root included.
    sandbox.arg("mount --bind \"$0\" \"$0\"; mount -o remount,bind,ro \"$0\"; exec \"$@\"");
    sandbox.arg(&cache).arg(script.get_program());
    sandbox.args(script.get_args()).arg(NAME);
    sandbox.env_clear();
    for (name, value) in script.get_envs() {
        if let Some(value) = value {
            sandbox.env(name, value);
        }
    }
    sandbox
        .env("HF_HUB_CACHE", &cache)
        .env("HF_HUB_OFFLINE", "1");
    if !rustix::process::geteuid().is_root() {
        return impossible("only root can mount a directory read-only");
    }
    must_run(sandbox, CLIENT_LIMIT)?;
    let snapshot = cache.join("models--acme--tiny-llama/snapshots");
    shelf.judge(&snapshot.join(&shelf.revision))
}

#[test]
fn the_rust_crates_download_everything() -> Result<()> {
    let client = paths::target().join("clients/debug/towline-hub-client");
    if !client.is_file() {
        return impossible("the Rust clients of the hub are not built: tests/run builds them");
    }
    let shelf = Shelf::new()?;
    let home = folder(&shelf, "home")?;
    for (round, revision) in ["main", &shelf.revision].into_iter().enumerate() {
        let cache = format!("{home}/{round}");
        let mut client = command(&client, &[&shelf.endpoint(), NAME, revision, &cache]);
        client.env_clear().env("HOME", &home);
        let said = String::from_utf8(must_run(client, CLIENT_LIMIT)?)?;
        let mut folders = said.lines();
        shelf.judge(Path::new(folders.next().context("no snapshot")?))?;
        // The old crate begins with the range 0-0, which no empty file has, and encodes no space.
        let absent = ["empty.txt", "sub dir/a+b.txt", "sub dir/deep/notes.txt"];
        let old = Path::new(folders.next().context("no second snapshot")?);
        shelf.judge_without(old, &absent)?;
    }
    Ok(())
}

/// A reply as curl saw it.
struct Reply {
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(':'));
        let mut found = fields.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim())
    }

    fn json(&self) -> Result<Value> {
        Ok(serde_json::from_slice(&self.body)?)
    }
}

fn curl(shelf: &Shelf, path: &str, arguments: &[&str]) -> Result<Reply> {
    let head = shelf.node.scratch().join("head").display().to_string();
    let url = format!("{}{path}", shelf.endpoint());
    let fixed = ["--silent", "--show-error", "--dump-header", &head, &url];
    let mut client = command("curl", &fixed);
    client.args(arguments);
    let body = must_run(client, CLIENT_LIMIT)?;
    let head = fs::read_to_string(head)?;
    Ok(Reply { head, body })
}

/// Fields and bodies that section 4 and 5 of the endpoints' rules ask for.
#[test]
fn every_field_is_as_clients_need_it() -> Result<()> {
    if !unless_installed("curl", "curl")? {
        return Ok(());
    }
    let shelf = Shelf::new()?;
    let commit = shelf.revision.as_str();
    let weights = fs::read(shelf.source.join("model.safetensors"))?;
    let sha256 = hex(ring::digest::digest(&ring::digest::SHA256, &weights).as_ref());
    let place = format!("/{NAME}/resolve/main/model.safetensors");
    let tag = format!("\"{sha256}\"");
    let head = curl(&shelf, &place, &["--head"])?;
    for (name, value) in [
        ("x-repo-commit", commit),
        ("etag", &tag),
        ("x-linked-etag", &tag),
        ("x-linked-size", &weights.len().to_string()),
        ("content-length", &weights.len().to_string()),
        ("accept-ranges", "bytes"),
        (
            "content-disposition",
            "inline; filename=\"model.safetensors\";",
        ),
    ] {
        assert_eq!(head.field(name), Some(value), "{}", head.head);
    }
    for absent in ["location", "link", "x-xet-hash", "content-encoding"] {
        assert_eq!(head.field(absent), None, "{}", head.head);
    }
    let whole = curl(&shelf, &place, &[])?;
    assert!(whole.status() == "200" && whole.body == weights);
    let part = curl(&shelf, &place, &["--range", "8-20971527"])?;
    assert_eq!(
        (part.status(), part.field("x-repo-commit")),
        ("206", Some(commit))
    );
    assert!(part.body == weights[8..20_971_528]);
    let last = curl(&shelf, &place, &["--range", "-17"])?;
    assert!(last.status() == "206" && last.body == weights[weights.len() - 17..]);
    let beyond = curl(&shelf, &place, &["--range", "24100000-"])?;
    let size = format!("bytes */{}", weights.len());
    assert_eq!(
        (beyond.status(), beyond.field("content-range")),
        ("416", Some(&*size))
    );
    let same = curl(
        &shelf,
        &place,
        &["--head", "-H", &format!("If-None-Match: {tag}")],
    )?;
    assert_eq!(
        (same.status(), same.field("x-repo-commit")),
        ("304", Some(commit))
    );
    assert_eq!(same.field("etag"), Some(&*tag));
    let stale = ["--range", "0-3", "-H", "If-Range: \"old\""];
    assert_eq!(curl(&shelf, &place, &stale)?.status(), "200");
    git_names_small_files(&shelf)
}

/// A file that is no LFS file has the name that git gives it, and `raw` gives LFS pointers.
fn git_names_small_files(shelf: &Shelf) -> Result<()> {
    let place = format!("/{NAME}/resolve/{}/sub%20dir/a%2Bb.txt", shelf.revision);
    let small = curl(shelf, &place, &[])?;
    assert_eq!(small.body, b"hi\n");
    // What `git hash-object` says of these three bytes.
    let tag = "\"45b983be36b73c0788dc9cbcb76cbb80fc7bb057\"";
    assert_eq!(small.field("etag"), Some(tag), "{}", small.head);
    assert_eq!(small.field("x-linked-etag"), None);
    let pointer = curl(shelf, &format!("/{NAME}/raw/main/model.safetensors"), &[])?;
    let text = String::from_utf8(pointer.body)?;
    ensure!(
        text.starts_with("version https://git-lfs.github.com/spec/v1\noid sha256:"),
        "{text}"
    );
    Ok(())
}

#[test]
fn every_refusal_is_one_that_clients_understand() -> Result<()> {
    if !unless_installed("curl", "curl")? {
        return Ok(());
    }
    let shelf = Shelf::new()?;
    let commit = shelf.revision.as_str();
    let cases = [
        (
            format!("/{NAME}/resolve/main/absent"),
            "404",
            Some("EntryNotFound"),
        ),
        (
            format!("/{NAME}/resolve/absent/config.json"),
            "404",
            Some("RevisionNotFound"),
        ),
        (
            "/acme/absent/resolve/main/config.json".to_owned(),
            "404",
            Some("RepoNotFound"),
        ),
        (
            "/api/models/acme/absent".to_owned(),
            "404",
            Some("RepoNotFound"),
        ),
        (
            format!("/api/models/{NAME}/revision/absent"),
            "404",
            Some("RevisionNotFound"),
        ),
        (
            format!("/api/models/{NAME}/tree/main/absent"),
            "404",
            Some("EntryNotFound"),
        ),
        ("/api/anything/at/all".to_owned(), "404", None),
        (
            format!("/api/models/{NAME}/xet-read-token/main"),
            "404",
            None,
        ),
        ("/api/whoami-v2".to_owned(), "401", None),
    ];
    for (path, status, code) in &cases {
        for arguments in [&[][..], &["--head"]] {
            let reply = curl(&shelf, path, arguments)?;
            let got = (reply.status(), reply.field("x-error-code"));
            assert_eq!(got, (*status, *code), "{path}: {}", reply.head);
            assert!(reply.field("x-error-message").is_some(), "{path}");
            let tag = (*status == "404").then_some("\"0\"");
            assert_eq!(reply.field("etag"), tag, "{path}: {}", reply.head);
            let named = (*code == Some("EntryNotFound")).then_some(commit);
            assert_eq!(reply.field("x-repo-commit"), named, "{path}");
            if arguments.is_empty() {
                assert!(reply.json()?["error"].is_string(), "{path}");
            }
        }
    }
    let me = curl(
        &shelf,
        "/api/whoami-v2",
        &["-H", "Authorization: Bearer hf_x"],
    )?;
    let exact = "Invalid credentials in Authorization header";
    assert_eq!(me.field("x-error-message"), Some(exact));
    Ok(())
}

#[test]
fn paths_are_looked_up_by_form_and_by_json() -> Result<()> {
    if !unless_installed("curl", "curl")? {
        return Ok(());
    }
    let shelf = Shelf::new()?;
    let place = format!("/api/models/{NAME}/paths-info/main");
    let form = [
        "--data",
        "paths=sub+dir%2Fa%2Bb.txt&paths=absent&expand=True",
    ];
    let object = "{\"paths\":[\"sub dir/a+b.txt\",\"absent\"],\"expand\":true}";
    let json = ["--json", object];
    for arguments in [form, json] {
        let reply = curl(&shelf, &place, &arguments)?;
        let entries = reply.json()?;
        assert_eq!(entries.as_array().map(Vec::len), Some(1), "{entries}");
        assert_eq!(entries[0]["path"], "sub dir/a+b.txt");
        assert_eq!(entries[0]["size"], 3);
        assert_eq!(entries[0]["lastCommit"]["id"], shelf.revision);
    }
    let pages = format!("/api/models/{NAME}/tree/main?recursive=true&limit=4");
    let first = curl(&shelf, &pages, &[])?;
    let link = first.field("link").context("no Link")?;
    let next = link
        .strip_prefix(&format!("<{}", shelf.endpoint()))
        .context(link.to_owned())?;
    let (next, _) = next.split_once('>').context("no end of the URL")?;
    let second = curl(&shelf, next, &[])?;
    let (first, second) = (first.json()?, second.json()?);
    assert_eq!(first.as_array().map(Vec::len), Some(4));
    assert_ne!(first[3]["path"], second[0]["path"]);
    Ok(())
}

/// Tokens of the volume hide its models, and the right one opens them to `hf download` too.
#[test]
fn a_token_opens_hidden_models() -> Result<()> {
    let Some(python) = Python::installed("hub")? else {
        return Ok(());
    };
    let token = "read:0123456789abcdef0123";
    let text = format!("[volumes.models]\ntokens = [\"{token}\"]\n");
    let shelf = Shelf::with_configuration(&text)?;
    let place = format!("/{NAME}/resolve/main/config.json");
    assert_eq!(curl(&shelf, &place, &[])?.status(), "401");
    let home = folder(&shelf, "home")?;
    let home = Path::new(&home);
    let mut hf = pointed(&shelf, python.program("hf", home));
    let secret = token.trim_start_matches("read:");
    let local = home.join("local").display().to_string();
    hf.env("HF_TOKEN", secret)
        .args(["download", NAME, "--local-dir", &local]);
    must_run(hf, CLIENT_LIMIT)?;
    shelf.judge(Path::new(&local))?;
    let who = curl(
        &shelf,
        "/api/whoami-v2",
        &["-H", &format!("Authorization: bearer {secret}")],
    )?;
    assert_eq!(who.json()?["name"], "towline");
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
