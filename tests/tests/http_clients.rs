//! HTTP as clients we did not write use it: curl and aria2c, compared byte for byte.
//!
//! Invariant: every body is judged in full against content that is known from its place. Not
//! promised: speed; `bench/peers/http` measures that.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use towline_loads::http_load::Random;
use towline_tests::content;
use towline_tests::node::{Node, Settings};
use towline_tests::process::{Finished, command, run};
use towline_tests::skip::unless_installed;

/// Longest time for one client call.
const CLIENT_LIMIT: Duration = Duration::from_secs(60);
/// Length of the file most tests use, in bytes: no multiple of anything.
const LENGTH: u64 = 20_000_003;
const SEED: u64 = 11;

struct Served {
    node: Node,
    url: String,
    file: PathBuf,
}

fn served(configuration: &str) -> Result<Served> {
    let configuration = configuration.to_owned();
    let node = Node::start_with(Settings {
        configuration,
        arguments: Vec::new(),
        ..Settings::default()
    })?;
    let file = node.volume("models").join("model.bin");
    content::write(&file, SEED, LENGTH)?;
    let url = node.url("models", "model.bin");
    Ok(Served { node, url, file })
}

fn curl(arguments: &[&str]) -> Result<Finished> {
    let mut curl = command("curl", &["--silent", "--show-error", "--max-time", "50"]);
    curl.args(arguments);
    run(curl, CLIENT_LIMIT)
}

/// Status and body; the status is written to standard error.
fn get(arguments: &[&str]) -> Result<(String, Vec<u8>)> {
    let mut all = vec!["--write-out", "%{stderr}%{http_code}"];
    all.extend_from_slice(arguments);
    let finished = curl(&all)?;
    ensure!(
        finished.status.success(),
        "{arguments:?}: {}",
        finished.errors
    );
    Ok((finished.errors, finished.output))
}

fn headers(arguments: &[&str]) -> Result<String> {
    let mut all = vec!["--dump-header", "-", "--output", "/dev/null"];
    all.extend_from_slice(arguments);
    let finished = curl(&all)?;
    ensure!(
        finished.status.success(),
        "{arguments:?}: {}",
        finished.errors
    );
    Ok(String::from_utf8(finished.output)?)
}

fn header(text: &str, name: &str) -> Option<String> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let mut found = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
    found.next().map(|(_, value)| value.trim().to_owned())
}

fn judge_file(path: &Path) -> Result<()> {
    let body = fs::read(path)?;
    ensure!(
        body.len() as u64 == LENGTH,
        "{} bytes of {LENGTH}",
        body.len()
    );
    content::judge(SEED, 0, &body)
}

fn ranges_are_exact(served: &Served) -> Result<()> {
    let mut random = Random::new(5);
    for _range in 0..40 {
        let first = random.below(LENGTH);
        let last = (first + random.below(300_000)).min(LENGTH - 1);
        let (status, body) = get(&["--range", &format!("{first}-{last}"), &served.url])?;
        assert_eq!(
            (status.as_str(), body.len() as u64),
            ("206", last - first + 1)
        );
        content::judge(SEED, first, &body)?;
    }
    let (status, body) = get(&["--range", "-1000", &served.url])?;
    assert_eq!((status.as_str(), body.len()), ("206", 1000));
    content::judge(SEED, LENGTH - 1000, &body)?;
    let (status, body) = get(&["--range", "19999000-", &served.url])?;
    assert_eq!(status, "206");
    content::judge(SEED, 19_999_000, &body)?;
    let (status, body) = get(&[&served.url])?;
    assert_eq!((status.as_str(), body.len() as u64), ("200", LENGTH));
    content::judge(SEED, 0, &body)
}

#[test]
fn curl_gets_exact_ranges() -> Result<()> {
    if !unless_installed("curl", "curl")? {
        return Ok(());
    }
    ranges_are_exact(&served("")?)
}

#[test]
fn io_uring_is_optional() -> Result<()> {
    if !unless_installed("curl", "curl")? {
        return Ok(());
    }
    ranges_are_exact(&served("[io]\nengine = \"portable\"\n")?)
}

#[test]
fn a_range_beyond_the_end_names_the_length() -> Result<()> {
    let served = served("")?;
    let text = headers(&["--range", &format!("{LENGTH}-"), &served.url])?;
    assert!(text.starts_with("HTTP/1.1 416"), "{text}");
    assert_eq!(
        header(&text, "content-range"),
        Some(format!("bytes */{LENGTH}"))
    );
    Ok(())
}

#[test]
fn several_ranges_come_as_parts() -> Result<()> {
    let served = served("")?;
    let text = headers(&["--range", "0-9,1000-1009,19000000-19000009", &served.url])?;
    let kind = header(&text, "content-type").context("no content type")?;
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .context(kind.clone())?;
    let (status, body) = get(&["--range", "0-9,1000-1009,19000000-19000009", &served.url])?;
    assert_eq!(status, "206");
    let boundary = boundary.trim_matches('"');
    for first in [0_u64, 1000, 19_000_000] {
        let head = format!("Content-Range: bytes {first}-{}/{LENGTH}\r\n", first + 9);
        let at = find(&body, head.as_bytes()).with_context(|| format!("no {head}"))?;
        let start = at + find(&body[at..], b"\r\n\r\n").context("no end of the part's head")? + 4;
        content::judge(SEED, first, &body[start..start + 10])?;
        assert!(
            body[start + 10..].starts_with(b"\r\n--"),
            "the part does not end"
        );
    }
    // Each reply may choose a boundary of its own, so only its form at the end is known.
    assert!(
        body.ends_with(b"--\r\n") || body.ends_with(b"--"),
        "no closing {boundary}"
    );
    Ok(())
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len())
        .position(|window| window.eq_ignore_ascii_case(part))
}

#[test]
fn curl_resumes_a_cut_download() -> Result<()> {
    let served = served("")?;
    let part = served.node.scratch().join("part");
    content::write(&part, SEED, 7_654_321)?;
    let output = part.display().to_string();
    let finished = curl(&["--continue-at", "-", "--output", &output, &served.url])?;
    ensure!(finished.status.success(), "{}", finished.errors);
    judge_file(&part)
}

#[test]
fn twenty_parallel_downloads_are_whole() -> Result<()> {
    let served = served("")?;
    let directory = served.node.scratch().join("parallel");
    fs::create_dir(&directory)?;
    let mut arguments = vec![
        "--parallel".to_owned(),
        "--parallel-max".into(),
        "20".into(),
    ];
    for index in 0..20 {
        let output = directory.join(index.to_string()).display().to_string();
        arguments.extend(["--output".to_owned(), output, served.url.clone()]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let finished = curl(&arguments)?;
    ensure!(finished.status.success(), "{}", finished.errors);
    for index in 0..20 {
        judge_file(&directory.join(index.to_string()))?;
    }
    Ok(())
}

#[test]
fn aria2c_joins_eight_connections() -> Result<()> {
    if !unless_installed("aria2c", "aria2")? {
        return Ok(());
    }
    let served = served("")?;
    let mut aria = command(
        "aria2c",
        &["-x8", "-s8", "-k1M", "--quiet", "--no-conf", "--out=whole"],
    );
    aria.arg("--dir")
        .arg(served.node.scratch())
        .arg(&served.url);
    let finished = run(aria, CLIENT_LIMIT)?;
    ensure!(finished.status.success(), "{}", finished.errors);
    judge_file(&served.node.scratch().join("whole"))
}

#[test]
fn a_browser_is_told_when_nothing_changed() -> Result<()> {
    let served = served("")?;
    let text = headers(&["--head", &served.url])?;
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    assert_eq!(header(&text, "content-length"), Some(LENGTH.to_string()));
    assert_eq!(header(&text, "accept-ranges").as_deref(), Some("bytes"));
    let tag = header(&text, "etag").context("no ETag")?;
    let date = header(&text, "last-modified").context("no Last-Modified")?;
    let status =
        |condition: &str| -> Result<String> { Ok(get(&["-H", condition, &served.url])?.0) };
    assert_eq!(status(&format!("If-None-Match: {tag}"))?, "304");
    assert_eq!(status("If-None-Match: \"other\"")?, "200");
    assert_eq!(status(&format!("If-Modified-Since: {date}"))?, "304");
    assert_eq!(status(&format!("If-Match: {tag}"))?, "200");
    assert_eq!(status("If-Match: \"other\"")?, "412");
    let range = |condition: &str| -> Result<(String, Vec<u8>)> {
        get(&["-H", condition, "--range", "5-14", &served.url])
    };
    assert_eq!(range(&format!("If-Range: {tag}"))?.0, "206");
    let (status, body) = range("If-Range: \"other\"")?;
    assert_eq!((status.as_str(), body.len() as u64), ("200", LENGTH));
    content::write(&served.file, SEED + 1, LENGTH)?;
    let text = headers(&[
        "--head",
        "-H",
        &format!("If-None-Match: {tag}"),
        &served.url,
    ])?;
    assert!(
        text.starts_with("HTTP/1.1 200"),
        "a changed file keeps its tag: {text}"
    );
    Ok(())
}

#[test]
fn an_upload_appears_whole_or_not_at_all() -> Result<()> {
    let served = served("")?;
    let url = served.node.url("projects", "upload.bin");
    let file = served.file.display().to_string();
    let (status, _) = get(&["--upload-file", &file, &url])?;
    assert_eq!(status, "201", "a new file");
    judge_file(&served.node.volume("projects").join("upload.bin"))?;
    let (status, _) = get(&["--upload-file", &file, &url])?;
    assert!(
        status == "200" || status == "204",
        "a replaced file: {status}"
    );
    let (status, _) = get(&[
        "--upload-file",
        &file,
        &served.node.url("models", "upload.bin"),
    ])?;
    assert!(
        status == "403" || status == "405",
        "a read-only volume: {status}"
    );
    assert!(!served.node.volume("models").join("upload.bin").exists());
    // Cut off in the middle: curl gives up after half a second at 2 MB/s.
    let cut = served.node.url("projects", "cut.bin");
    let slow = [
        "--limit-rate",
        "2M",
        "--max-time",
        "1",
        "--upload-file",
        &file,
        &cut,
    ];
    ensure!(
        !curl(&slow)?.status.success(),
        "the slow upload should have been cut"
    );
    let (status, _) = get(&[&cut])?;
    assert_eq!(status, "404", "half an upload is visible");
    let (status, _) = get(&["--request", "DELETE", &url])?;
    assert_eq!(status, "204");
    assert_eq!(get(&[&url])?.0, "404");
    Ok(())
}

#[test]
fn listings_are_for_people_and_for_programs() -> Result<()> {
    let served = served("")?;
    fs::write(served.node.volume("models").join("<b> & \"c\".txt"), "x")?;
    let url = served.node.url("models", "");
    let (status, page) = get(&["-H", "Accept: text/html", &url])?;
    let page = String::from_utf8(page)?;
    assert!(status == "200" && page.contains("model.bin"), "{page}");
    assert!(!page.contains("<b> &"), "a name is not escaped: {page}");
    let (status, json) = get(&["-H", "Accept: application/json", &url])?;
    let json: serde_json::Value = serde_json::from_slice(&json)?;
    assert!(
        status == "200" && json.to_string().contains("model.bin"),
        "{json}"
    );
    Ok(())
}

#[test]
fn never_wrong_bytes() -> Result<()> {
    let served = served("")?;
    let output = served.node.scratch().join("short").display().to_string();
    // The reader is slow, and the file loses its second half meanwhile.
    let url = served.url.clone();
    let download = std::thread::spawn(move || {
        curl(&["--limit-rate", "8M", "--output", &output, &url]).map(|finished| (finished, output))
    });
    std::thread::sleep(Duration::from_millis(400));
    fs::File::options()
        .write(true)
        .open(&served.file)?
        .set_len(LENGTH / 2)?;
    let (finished, output) = download
        .join()
        .map_err(|_| anyhow::anyhow!("curl thread"))??;
    let body = fs::read(output)?;
    let kept = body.len().min(LENGTH as usize / 2);
    content::judge(SEED, 0, &body[..kept])?;
    // What was in the socket's queue when the file shrank are live pages of the cache: the kernel
    // may have cleared them. Anything but the old bytes and zeros would be made up by the node.
    let wanted = content::bytes(SEED, kept as u64, body.len() - kept);
    let made_up = body[kept..]
        .iter()
        .zip(&wanted)
        .any(|(got, old)| got != old && *got != 0);
    ensure!(!made_up, "bytes that were never in the file");
    let whole = body.len() as u64 == LENGTH;
    ensure!(
        whole == finished.status.success(),
        "{} bytes, {}",
        body.len(),
        finished.status
    );
    assert_eq!(
        get(&[&served.url])?.1.len() as u64,
        LENGTH / 2,
        "later readers see the new length"
    );
    Ok(())
}

#[test]
fn no_silent_configuration() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("bad.toml");
    for (text, word) in [
        ("colour = \"red\"\n", "colour"),
        ("[io]\nengine = \"warp\"\n", "warp"),
        ("[io]\nenjine = \"auto\"\n", "enjine"),
    ] {
        fs::write(&file, text)?;
        let mut up = command(
            towline_tests::paths::program("towline")?,
            &["up", "--config"],
        );
        up.arg(&file)
            .arg("--data")
            .arg(directory.path().join("data"));
        up.args(["--http-port", "0", "--nfs-port", "0"]);
        let finished = run(up, Duration::from_secs(10))?;
        assert_eq!(
            finished.status.code(),
            Some(64),
            "{text}: {}",
            finished.errors
        );
        let said = format!(
            "{}{}",
            finished.errors,
            String::from_utf8_lossy(&finished.output)
        );
        assert!(
            said.contains(word),
            "the message does not name {word}: {said}"
        );
        assert!(
            !directory.path().join("data").exists(),
            "something was made before the refusal"
        );
    }
    Ok(())
}
