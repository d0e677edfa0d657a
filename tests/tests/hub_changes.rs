//! What hub clients change beside uploading a folder, on the port of the hub's own and below `/hf`:
//! repositories, branches, tags, history; and what the Hub would refuse or keep private.
//!
//! Invariant: whatever a client asks for is done or refused in words, never passed over; what was
//! refused has changed nothing. Not promised: calls that change what no node has, such as likes.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use towline_tests::cli::{answer, metric, run_well, towline};
use towline_tests::model::{self, Shelf};
use towline_tests::process::must_run;
use towline_tests::python::Python;
use towline_tests::skip::impossible;
use towline_tests::{cli, content, paths};

const CLIENT_LIMIT: Duration = Duration::from_secs(240);
/// As some clients demand it: `hf_` and 34 letters or digits.
const TOKEN: &str = "hf_0123456789abcdef0123456789abcdef01";
const READER: &str = "fedcba9876543210fedcba9876543210";

/// A node on which one token publishes everything, and what begins with `acme/secret` is private.
/// Weights come to it in parts.
fn shelf() -> Result<Shelf> {
    Shelf::with_configuration(&format!(
        "[listen]\nhub_port = 0\n[limits]\nupload_part = \"2MiB\"\n\
         [[models.tokens]]\ntoken = \"{TOKEN}\"\nprefix = \"\"\nrights = \"publish\"\n\
         [[models.tokens]]\ntoken = \"{READER}\"\nprefix = \"acme/secret\"\nrights = \"read\"\n"
    ))
}

fn pointed(endpoint: &str, mut client: Command) -> Command {
    client
        .env("HF_ENDPOINT", endpoint)
        .env("HF_TOKEN", TOKEN)
        .env("HF_HUB_DISABLE_XET", "1");
    client
}

/// Runs a script with each line of the library, against the port of the hub's own; the new line
/// below `/hf` too.
fn with_every_client(script: &str, arguments: &[&str]) -> Result<()> {
    for (environment, is_own) in [("hub", true), ("hub-0.36", true), ("hub", false)] {
        let Some(python) = Python::installed(environment)? else {
            return Ok(());
        };
        let shelf = shelf()?;
        let endpoint = match is_own {
            true => shelf.own_endpoint()?,
            false => shelf.endpoint(),
        };
        let home = shelf.node.scratch().join("home");
        fs::create_dir_all(&home)?;
        let mut client = pointed(&endpoint, python.script(script, &home));
        for argument in arguments {
            client.arg(argument.replace("SOURCE", &shelf.source.display().to_string()));
        }
        must_run(client, CLIENT_LIMIT)
            .with_context(|| format!("{script} with {environment} at {endpoint}"))?;
    }
    Ok(())
}

#[test]
fn what_the_hub_would_refuse_or_keep_private_is_refused_in_words() -> Result<()> {
    with_every_client("hub_refusals.py", &["acme/tiny-llama", "acme/secret-new"])
}

#[test]
fn repositories_branches_tags_and_history_change_as_on_the_hub() -> Result<()> {
    with_every_client("hub_changes.py", &["SOURCE"])
}

/// Names without an organisation, datasets and spaces lie where a mount and a browser look for
/// them, and hub clients read and write them like models.
#[test]
fn names_of_every_shape_are_served_at_every_door() -> Result<()> {
    for environment in ["hub", "hub-0.36"] {
        let Some(python) = Python::installed(environment)? else {
            return Ok(());
        };
        let shelf = shelf()?;
        let source = shelf.source.display().to_string();
        run_well(&shelf.node, &["push", &source, "gpt2"])?;
        run_well(
            &shelf.node,
            &["push", "--type", "dataset", &source, "acme/rows"],
        )?;
        run_well(&shelf.node, &["push", &source, "datasets/squad"])?;
        run_well(
            &shelf.node,
            &["push", "--type", "space", &source, "acme/app"],
        )?;
        for place in [
            "gpt2",
            "datasets/acme/rows",
            "datasets/squad",
            "spaces/acme/app",
        ] {
            shelf.judge(&shelf.node.volume("models").join(place).join("main"))?;
            let url = shelf
                .node
                .url("models", &format!("{place}/main/config.json"));
            let expected = fs::read(shelf.source.join("config.json"))?;
            assert_eq!(cli::curl(&url)?, expected, "{place}");
        }
        let listed = run_well(&shelf.node, &["models"])?;
        for (name, kind) in [
            ("gpt2", "model"),
            ("datasets/acme/rows", "dataset"),
            ("spaces/acme/app", "space"),
        ] {
            let row = listed.lines().find(|line| line.starts_with(name));
            let row = row.with_context(|| listed.clone())?;
            assert_eq!(row.split_whitespace().nth(1), Some(kind), "{listed}");
        }
        let home = shelf.node.scratch().join("home");
        fs::create_dir_all(&home)?;
        let endpoint = shelf.own_endpoint()?;
        let mut client = pointed(&endpoint, python.script("hub_names.py", &home));
        client.arg(&shelf.source);
        must_run(client, CLIENT_LIMIT).with_context(|| environment.to_owned())?;
        // What the client made without an organisation is a folder too.
        shelf.judge(&shelf.node.volume("models").join("bert-base-uncased/main"))?;
        run_well(&shelf.node, &["verify"])?;
    }
    Ok(())
}

/// A model and a dataset are pulled from another node as from the Hub, whatever their names' shape.
#[test]
fn names_of_every_shape_are_pulled() -> Result<()> {
    let (from, to) = (shelf()?, shelf()?);
    let source = from.source.display().to_string();
    for name in ["gpt2", "datasets/acme/rows", "datasets/squad"] {
        run_well(&from.node, &["push", &source, name])?;
        let url = format!("hf://{name}");
        run_well(
            &to.node,
            &["pull", &url, "--endpoint", &from.own_endpoint()?],
        )?;
        from.judge(&to.node.volume("models").join(name).join("main"))?;
    }
    Ok(())
}

/// A twin of a name is refused by the command line too, before anything is sent.
#[test]
fn a_name_that_differs_in_capital_letters_only_is_refused() -> Result<()> {
    let shelf = shelf()?;
    let source = shelf.source.join("sub dir").display().to_string();
    for name in ["Acme/Tiny-Llama", "acme/tiny-llama/x", "acme"] {
        let (code, said) = cli::outcome(towline(&shelf.node, &["push", &source, name])?)?;
        ensure!(matches!(code, 64 | 65), "{name}: {code} {said}");
    }
    let listed = run_well(&shelf.node, &["models", "--json"])?;
    let listed: Value = serde_json::from_str(&listed)?;
    assert_eq!(
        listed["models"].as_array().map(Vec::len),
        Some(1),
        "{listed}"
    );
    Ok(())
}

/// Datasets below a private prefix are private like its models, at every door.
#[test]
fn a_private_prefix_covers_every_kind() -> Result<()> {
    let shelf = shelf()?;
    let source = shelf.source.display().to_string();
    run_well(&shelf.node, &["push", &source, "datasets/acme/secret-rows"])?;
    run_well(&shelf.node, &["push", &source, "datasets/acme/rows"])?;
    let root = format!("http://{}", shelf.node.http());
    let bearer = format!("Authorization: Bearer {READER}");
    for place in [
        "files/models/datasets/acme/NAME/main/config.json",
        "files/hub/datasets--acme--NAME/refs/main",
        "hf/api/datasets/acme/NAME",
        "hf/datasets/acme/NAME/resolve/main/config.json",
    ] {
        let ask = |name: &str, more: &[&str]| -> Result<u16> {
            let (code, _) = answer(&format!("{root}/{}", place.replace("NAME", name)), more)?;
            Ok(code)
        };
        assert_eq!(ask("rows", &[])?, 200, "{place}");
        assert_eq!(ask("secret-rows", &[])?, 404, "{place}");
        assert_eq!(ask("secret-rows", &["-H", &bearer])?, 200, "{place}");
    }
    for list in [
        "files/models/datasets/acme/",
        "hf/api/datasets",
        "files/hub/",
    ] {
        let (_, shown) = answer(&format!("{root}/{list}"), &[])?;
        ensure!(
            shown.contains("rows") && !shown.contains("secret"),
            "{list}: {shown}"
        );
    }
    Ok(())
}

#[test]
fn cards_and_files_say_what_a_model_is_and_lists_are_filtered_by_it() -> Result<()> {
    for environment in ["hub", "hub-0.36"] {
        let Some(python) = Python::installed(environment)? else {
            return Ok(());
        };
        let shelf = shelf()?;
        let folder = shelf.node.scratch().join("card");
        model::write(&folder)?;
        let card = "---\nlicense: mit\nlanguage:\n- en\n- de\ntags: [tugboat]\n\
                    base_model: up/stream\ndatasets:\n- some/rows\n---\n# chat\n";
        fs::write(folder.join("README.md"), card)?;
        let folders = [
            ("acme/chat", folder),
            ("acme/mask", mask(&shelf)?),
            ("acme/bare", bare(&shelf)?),
        ];
        for (name, folder) in folders {
            // Dates of revisions have seconds.
            std::thread::sleep(Duration::from_millis(1_100));
            model::push(&shelf.node, &folder, name)?;
        }
        run_well(&shelf.node, &["models", "rm", "acme/tiny-llama:main"])?;
        let home = shelf.node.scratch().join("home");
        fs::create_dir_all(&home)?;
        let endpoint = shelf.own_endpoint()?;
        let mut client = pointed(&endpoint, python.script("hub_cards.py", &home));
        client.arg("6000001");
        must_run(client, CLIENT_LIMIT).with_context(|| environment.to_owned())?;
    }
    Ok(())
}

fn mask(shelf: &Shelf) -> Result<std::path::PathBuf> {
    let folder = shelf.node.scratch().join("mask");
    fs::create_dir_all(&folder)?;
    let config = r#"{"architectures":["BertForMaskedLM"],"model_type":"bert"}"#;
    fs::write(folder.join("config.json"), config)?;
    Ok(folder)
}

fn bare(shelf: &Shelf) -> Result<std::path::PathBuf> {
    let folder = shelf.node.scratch().join("bare");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("notes.txt"), content::bytes(3, 0, 100))?;
    Ok(folder)
}

/// A list of more repositories than a page has is whole, and each page says where it goes on.
#[test]
fn a_list_of_several_pages_is_whole() -> Result<()> {
    let shelf = shelf()?;
    let folder = bare(&shelf)?;
    for number in 0..6 {
        model::push(&shelf.node, &folder, &format!("acme/m{number}"))?;
    }
    let head = shelf.node.scratch().join("head").display().to_string();
    let mut url = format!("{}/api/models?author=acme&limit=3", shelf.own_endpoint()?);
    let mut names = Vec::new();
    for _page in 0..10 {
        let (code, reply) = answer(&url, &["--dump-header", &head])?;
        assert_eq!(code, 200, "{reply}");
        let (_, body) = reply.split_once("\r\n\r\n").context("no body")?;
        let page: Value = serde_json::from_str(body)?;
        let page = page.as_array().context("no list")?;
        ensure!(page.len() <= 3, "{body}");
        names.extend(
            page.iter()
                .filter_map(|info| info["id"].as_str().map(str::to_owned)),
        );
        let fields = fs::read_to_string(&head)?;
        let link = fields.lines().find_map(|line| line.strip_prefix("Link: <"));
        match link.and_then(|link| link.split_once('>')) {
            Some((next, _)) => url = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(names.len(), 7, "{names:?}");
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 7, "{names:?}");
    Ok(())
}

#[test]
fn the_datasets_library_loads_a_dataset() -> Result<()> {
    const ROWS: usize = 1_000;
    let Some(python) = Python::installed("datasets")? else {
        return Ok(());
    };
    let shelf = shelf()?;
    let folder = shelf.node.scratch().join("rows");
    fs::create_dir_all(&folder)?;
    let lines = |count: usize| -> String {
        let lines = (0..count).map(|n| format!("{{\"number\": {n}, \"text\": \"row {n}\"}}\n"));
        lines.collect()
    };
    fs::write(folder.join("train.jsonl"), lines(ROWS))?;
    fs::write(folder.join("test.jsonl"), lines(3))?;
    let folder = folder.display().to_string();
    run_well(
        &shelf.node,
        &["push", "--type", "dataset", &folder, "acme/rows"],
    )?;
    run_well(
        &shelf.node,
        &["push", "--type", "dataset", &folder, "squad"],
    )?;
    for endpoint in [shelf.endpoint(), shelf.own_endpoint()?] {
        let home = tempfile::tempdir()?;
        let mut client = pointed(&endpoint, python.script("load_dataset.py", home.path()));
        client.arg(ROWS.to_string());
        must_run(client, CLIENT_LIMIT).with_context(|| endpoint)?;
    }
    Ok(())
}

/// `push_to_hub` of a program that never heard of this node.
#[test]
fn transformers_pushes_to_a_name_that_is_new() -> Result<()> {
    let Some(python) = Python::installed("hub")? else {
        return Ok(());
    };
    let shelf = shelf()?;
    for (endpoint, target) in [
        (shelf.endpoint(), "acme/below-hf"),
        (shelf.own_endpoint()?, "acme/own-port"),
    ] {
        let home = tempfile::tempdir()?;
        let script = python.script("transformers_push.py", home.path());
        let mut client = pointed(&endpoint, script);
        client.args([model::NAME, target]);
        must_run(client, CLIENT_LIMIT).with_context(|| endpoint)?;
    }
    Ok(())
}

/// The hub's client for JavaScript, which asks for the first byte of every file, reads and writes
/// a repository with an empty file.
#[test]
fn the_javascript_client_reads_and_writes_everything() -> Result<()> {
    let installed = paths::target().join("npm");
    if !installed.join("node_modules/@huggingface/hub").is_dir() {
        return impossible("@huggingface/hub is not installed: tests/run installs it with npm");
    }
    let shelf = shelf()?;
    for endpoint in [shelf.endpoint(), shelf.own_endpoint()?] {
        let mut client = Command::new("node");
        client.current_dir(&installed);
        client.arg(paths::workspace().join("tests/clients/npm/hub.mjs"));
        client.arg(&endpoint).arg(TOKEN).arg(&shelf.source);
        must_run(client, CLIENT_LIMIT).with_context(|| endpoint)?;
    }
    // It sends parts side by side: four of a model and four of a dataset, twice.
    let parts = metric(&shelf.node, "towline_models_uploaded_parts_total")?;
    ensure!(parts == 16, "{parts} parts came");
    Ok(())
}

/// Fields that only names beyond ASCII and empty files have.
#[test]
fn odd_files_have_the_fields_that_clients_need() -> Result<()> {
    let shelf = shelf()?;
    let folder = bare(&shelf)?;
    fs::write(folder.join("\u{fc}b\u{e9}r \"x\".txt"), "odd")?;
    fs::write(folder.join("none.txt"), "")?;
    model::push(&shelf.node, &folder, "acme/odd")?;
    let place = format!("{}/acme/odd/resolve/main", shelf.own_endpoint()?);
    let (code, reply) = answer(&format!("{place}/%C3%BCb%C3%A9r%20%22x%22.txt"), &[])?;
    assert_eq!(code, 200, "{reply}");
    let wanted = "Content-Disposition: inline; \
                  filename*=UTF-8''%C3%BCb%C3%A9r%20%22x%22.txt; filename=\"_b_r _x_.txt\";";
    ensure!(reply.contains(wanted), "{reply}");
    for range in ["bytes=0-0", "bytes=0-", "bytes=5-9", "bytes=-3"] {
        let field = format!("Range: {range}");
        let (code, reply) = answer(&format!("{place}/none.txt"), &["-H", &field])?;
        assert_eq!(code, 200, "{range}: {reply}");
        ensure!(reply.contains("Content-Length: 0"), "{range}: {reply}");
        ensure!(
            reply.contains("Content-Range: bytes */0"),
            "{range}: {reply}"
        );
    }
    Ok(())
}
