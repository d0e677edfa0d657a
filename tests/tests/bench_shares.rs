//! `towline bench share` and planted causes: a shaped way and a slow disk get their verdicts; pages
//! open in Chromium.
//!
//! The slow disk is a server of this test that waits 20 ms before it sends any bytes of a file and
//! never before a head: device mapper and its delay target are not there on every kernel.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::geteuid;
use towline_tests::bench::{LIMIT, bench, parsed, told, towline};
use towline_tests::netns::{Row, SERVER};
use towline_tests::process::{command, run};
use towline_tests::share::{serve, slow_server};
use towline_tests::skip::{impossible, unless_installed};

#[test]
fn a_shaped_way_is_found_over_http_and_nfs() -> Result<()> {
    if !geteuid().is_root() {
        return impossible("a shaped way needs root for network namespaces");
    }
    if !unless_installed("ip", "iproute2")? || !unless_installed("curl", "curl")? {
        return Ok(());
    }
    let row = Row::new()?;
    row.shape_back(&["rate", "1gbit", "burst", "256k", "latency", "50ms"])?;
    let folder = tempfile::tempdir()?;
    let _server = serve(&row, &folder.path().join("data"), 64 << 20)?;
    let towline = towline()?;
    let http = format!("http://{SERVER}:8420/files/models/large");
    let nfs = format!("nfs://{SERVER}/models/large");
    for url in [&http, &nfs] {
        let words = [
            &towline, "bench", "share", url, "-t", "1", "--depths", "1,8", "--json",
        ];
        let report = told(row.at_client(&words))?;
        let limit = &report["verdict"]["limit"];
        ensure!(limit == "path", "{url}: {:#}", report["verdict"]);
    }
    Ok(())
}

#[test]
fn a_slow_disk_behind_a_server_is_found() -> Result<()> {
    let url = slow_server(4 << 20, 64 << 10, Duration::from_millis(20))?;
    let words = ["share", &url, "-t", "0.5", "--size", "2M", "--json"];
    let report = parsed(&bench(&words)?)?;
    ensure!(
        report["verdict"]["limit"] == "disk",
        "{:#}",
        report["verdict"]
    );
    Ok(())
}

/// The page of a command, drawn by Chromium in the reader's light or dark colours.
fn draw(folder: &Path, page: &str, scheme: &str) -> Result<()> {
    let picture = folder.join("page.png");
    let _not_drawn_yet = std::fs::remove_file(&picture);
    let profile = format!("--user-data-dir={}/profile", folder.display());
    let screenshot = format!("--screenshot={}", picture.display());
    let url = format!("file://{page}");
    let words = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        "--v=0",
        "--window-size=1100,2600",
        scheme,
        &profile,
        &screenshot,
        &url,
    ];
    let finished = run(command("chromium", &words), LIMIT)?;
    // A script, style or markup that fails is told on the console; so is anything not found.
    ensure!(!finished.errors.contains("CONSOLE"), "{}", finished.errors);
    let bytes = std::fs::read(&picture).with_context(|| finished.errors.clone())?;
    ensure!(
        bytes.starts_with(b"\x89PNG") && bytes.len() > 20_000,
        "an empty page: {page}"
    );
    Ok(())
}

#[test]
fn the_pages_open_in_chromium_without_errors() -> Result<()> {
    if !unless_installed("chromium", "chromium")? {
        return Ok(());
    }
    const LIGHT: &str = "--blink-settings=preferredColorScheme=1";
    const DARK: &str = "--blink-settings=preferredColorScheme=0";
    let folder = tempfile::tempdir()?;
    let name = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (page, place, row) = (name("page.html"), name(""), name("row.json"));
    let sets = name("sets");
    let share = ["share", &place, "-t", "0.3", "--size", "4M", "--files", "8"];
    let finished = bench(&[&share[..], &["--html", &page]].concat())?;
    ensure!(finished.status.success(), "{}", finished.errors);
    draw(folder.path(), &page, LIGHT)?;
    draw(folder.path(), &page, DARK)?;
    let link = "{\"to\": \"b\", \"there_bits_per_second\": 9e9, \"verdict\": \"nic-limited\"}";
    std::fs::write(&row, format!("{{\"from\": \"a\", \"links\": [{link}]}}"))?;
    let finished = bench(&["mesh", "--merge", &row, "--html", &page])?;
    ensure!(finished.status.success(), "{}", finished.errors);
    draw(folder.path(), &page, LIGHT)?;
    let save = ["save", "before", "--folder", &sets, "--html", &page];
    let disk = ["disk", &place, "-t", "0.1", "--size", "1M", "--depths", "1"];
    let finished = bench(&[&save[..], &disk[..]].concat())?;
    ensure!(finished.status.success(), "{}", finished.errors);
    draw(folder.path(), &page, DARK)?;
    let with = ["--with", "before", "--html", &page, "--folder", &sets];
    let finished = bench(&[&["compare", "before"], &with[..]].concat())?;
    ensure!(finished.status.success(), "{}", finished.errors);
    draw(folder.path(), &page, LIGHT)
}
