//! `towline bench` against programs that we did not write, on the same share: `fio` on a path,
//! `curl` on HTTP, libnfs on NFS. All must agree within 5 %.
//!
//! What is measured is made slow on purpose, a disk by the block controller and a way by a shaper,
//! so that neither program's own work is the limit: then the figures say whether both count the
//! same bytes over the same time, and a busy machine changes neither. From memory, where the
//! program and the machine are the limit, a wider band holds.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rustix::process::geteuid;
use towline_tests::bench::{LIMIT, agree, bench, figure, parsed, told, towline};
use towline_tests::content;
use towline_tests::netns::{Row, SERVER};
use towline_tests::paths::target;
use towline_tests::process::{command, run};
use towline_tests::share::serve;
use towline_tests::skip::{impossible, unless_installed};
use towline_tests::throttle::Throttle;

/// How far medians may lie apart.
const TOLERANCE: f64 = 0.05;
/// The same for a disk that is read for two seconds: the controller lets through a little at once.
const TOLERANCE_DISK: f64 = 0.1;
/// The same where two programs copy from memory on shared cores.
const TOLERANCE_MEMORY: f64 = 0.15;
/// Speed of the slow disk in bytes per second: three seconds for the file below.
const DISK_BYTES_PER_S: u64 = 32 << 20;
/// The file on it.
const FILE_BYTES: u64 = 96 << 20;
/// Speed of the shaped way: a slow machine forwards more.
const SHAPED: [&str; 6] = ["rate", "200mbit", "burst", "128k", "latency", "50ms"];
/// The file behind it: 1.3 seconds.
const SHARED_BYTES: usize = 32 << 20;

/// Bytes per second of one `fio` job over a file that is there.
fn fio(path: &str, throttle: Option<&Throttle>, options: &[&str]) -> Result<f64> {
    let filename = format!("--filename={path}");
    let size = format!("--size={FILE_BYTES}");
    let fixed = ["--name=x", &filename, &size, "--output-format=json"];
    let words = [&fixed[..], &["--ioengine=io_uring"], options].concat();
    let report = told(match throttle {
        Some(throttle) => throttle.command("fio", &words)?,
        None => command("fio", &words),
    })?;
    let rate = report["jobs"][0]["read"]["bw_bytes"].as_f64();
    rate.context("fio told no rate")
}

fn large_file(folder: &Path) -> Result<String> {
    let file = folder.join("large");
    content::write(&file, 5, FILE_BYTES)?;
    // What is not on the disk yet cannot be dropped from memory.
    fs::File::open(&file)?.sync_all()?;
    Ok(file.to_string_lossy().into_owned())
}

#[test]
fn figures_of_a_path_agree_with_fio() -> Result<()> {
    if !unless_installed("fio", "fio")? {
        return Ok(());
    }
    let folder = tempfile::tempdir_in(target())?;
    let path = large_file(folder.path())?;
    let Some(throttle) = Throttle::new(folder.path(), DISK_BYTES_PER_S) else {
        return impossible("a slow disk needs root and the block controller of cgroups");
    };
    let towline = towline()?;
    // One round: the controller's rate is the limit, and the same for both.
    let words = [
        "bench", "share", &path, "-t", "3.2", "--depths", "1", "--size", "96M", "--json",
    ];
    let report = told(throttle.command(&towline, &words)?)?;
    let ours = figure(&report, "seq_cold")? / 8.0;
    let cold = ["--rw=read", "--bs=1M", "--iodepth=4", "--invalidate=1"];
    let share = ours / fio(&path, Some(&throttle), &cold)?;
    agree("a path, cold, against fio", &[share], TOLERANCE)?;
    let words = [
        "bench", "disk", &path, "-t", "2", "--depths", "1,32", "--size", "96M", "--json",
    ];
    let report = told(throttle.command(&towline, &words)?)?;
    for depth in ["1", "32"] {
        let ours = figure(&report, &format!("direct_seq_depth_{depth}"))? / 8.0;
        let iodepth = format!("--iodepth={depth}");
        let options = ["--rw=read", "--bs=1M", "--direct=1", "--time_based"];
        let options = [&options[..], &["--runtime=2s", &iodepth]].concat();
        let ratio = ours / fio(&path, Some(&throttle), &options)?;
        let what = format!("a disk, direct, depth {depth}, against fio");
        agree(&what, &[ratio], TOLERANCE_DISK)?;
    }
    Ok(())
}

#[test]
fn figures_from_memory_are_near_those_of_fio() -> Result<()> {
    if !unless_installed("fio", "fio")? {
        return Ok(());
    }
    let folder = tempfile::tempdir_in(target())?;
    let path = large_file(folder.path())?;
    let mut ratios = Vec::new();
    for _ in 0..5 {
        let words = [
            "share", &path, "-t", "0.6", "--depths", "1", "--size", "96M", "--json",
        ];
        let report = parsed(&bench(&words)?)?;
        let options = ["--rw=read", "--bs=1M", "--iodepth=1", "--time_based"];
        let options = [&options[..], &["--runtime=600ms", "--invalidate=0"]].concat();
        ratios.push(figure(&report, "share")? / 8.0 / fio(&path, None, &options)?);
    }
    agree(
        "a path, from memory, against fio",
        &ratios,
        TOLERANCE_MEMORY,
    )
}

/// Bytes per second of `curl`, by its own count.
fn curl(row: &Row, url: &str) -> Result<f64> {
    let asked = row.at_client(&[
        "curl",
        "-sf",
        "-o",
        "/dev/null",
        "-w",
        "%{speed_download}",
        url,
    ]);
    let finished = run(asked, LIMIT)?;
    ensure!(finished.status.success(), "{}", finished.errors);
    Ok(String::from_utf8_lossy(&finished.output).trim().parse()?)
}

/// Bytes per second of libnfs's `nfs-cat`, by the clock.
fn nfs_cat(row: &Row) -> Result<f64> {
    let url = format!("nfs://{SERVER}/models/large?nfsport=2049&mountport=2049&version=3");
    let words = ["sh", "-c", "exec nfs-cat \"$0\" > /dev/null", &url];
    let begun = Instant::now();
    let finished = run(row.at_client(&words), LIMIT)?;
    ensure!(finished.status.success(), "{}", finished.errors);
    Ok(SHARED_BYTES as f64 / begun.elapsed().as_secs_f64())
}

fn share(row: &Row, url: &str, depth: &str) -> Result<f64> {
    let words = [
        &towline()?,
        "bench",
        "share",
        url,
        "-t",
        "1.3",
        "--depths",
        depth,
        "--json",
    ];
    let report = told(row.at_client(&words))?;
    Ok(figure(&report, "share")? / 8.0)
}

#[test]
fn figures_of_http_and_nfs_agree_with_curl_and_libnfs() -> Result<()> {
    if !geteuid().is_root() {
        return impossible("a shaped way needs root for network namespaces");
    }
    let are_there = unless_installed("ip", "iproute2")?
        && unless_installed("curl", "curl")?
        && unless_installed("nfs-cat", "libnfs-utils")?;
    if !are_there {
        return Ok(());
    }
    let row = Row::new()?;
    row.shape_back(&SHAPED)?;
    let folder = tempfile::tempdir()?;
    let _server = serve(&row, &folder.path().join("data"), SHARED_BYTES)?;
    let http = format!("http://{SERVER}:8420/files/models/large");
    let nfs = format!("nfs://{SERVER}/models/large");
    let (mut by_http, mut by_nfs) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        by_http.push(share(&row, &http, "8")? / curl(&row, &http)?);
        by_nfs.push(share(&row, &nfs, "8")? / nfs_cat(&row)?);
    }
    agree("HTTP against curl", &by_http, TOLERANCE)?;
    agree("NFS against libnfs", &by_nfs, TOLERANCE)
}

/// A safetensors file of one tensor, as the format's page describes it.
fn weights(bytes: usize) -> Vec<u8> {
    let header =
        format!("{{\"w\":{{\"dtype\":\"U8\",\"shape\":[{bytes}],\"data_offsets\":[0,{bytes}]}}}}");
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], header.as_bytes(), &vec![7; bytes]].concat()
}

#[test]
fn the_time_to_load_a_model_is_that_of_its_bytes() -> Result<()> {
    if !geteuid().is_root() {
        return impossible("a shaped way needs root for network namespaces");
    }
    if !unless_installed("ip", "iproute2")? || !unless_installed("curl", "curl")? {
        return Ok(());
    }
    let row = Row::new()?;
    row.shape_back(&SHAPED)?;
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let _server = serve(&row, &data, 1)?;
    let file = weights(SHARED_BYTES);
    fs::write(data.join("models/w.safetensors"), &file)?;
    let url = format!("http://{SERVER}:8420/files/models/w.safetensors");
    let towline = towline()?;
    let (mut alone, mut together) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let words = [&towline, "bench", "model", &url, "--readers", "2", "--json"];
        let report = told(row.at_client(&words))?;
        let seconds = file.len() as f64 / curl(&row, &url)?;
        alone.push(figure(&report, "model")? / seconds);
        // Two readers each load everything over the same way.
        together.push(figure(&report, "range_readers_2")? / (2.0 * seconds));
    }
    agree("one reader against curl", &alone, TOLERANCE)?;
    agree("two readers against curl", &together, TOLERANCE)
}
