//! Shares whose speed is known: a node behind a shaped way, and a server of ranges that waits.
//!
//! Invariant: the node is killed by its own pid when dropped; the waiting server ends with it.
//! Not promised: figures other than those of the shaper and the waits.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::bench::{LIMIT, towline};
use crate::netns::Row;
use crate::process::{Running, run};

/// A node at the server's place of `row`; `models` holds `large` with so many bytes.
///
/// # Errors
/// When it does not answer within 15 seconds.
pub fn serve(row: &Row, data: &Path, bytes: usize) -> Result<Running> {
    std::fs::create_dir_all(data.join("models"))?;
    std::fs::write(data.join("models/large"), vec![0x5a; bytes])?;
    let (towline, data) = (towline()?, data.to_string_lossy().into_owned());
    let words = [
        &towline,
        "up",
        "--data",
        &data,
        "--listen",
        "0.0.0.0",
        "--allow",
        "10.77.0.0/16",
    ];
    let mut command = row.at_server(&words);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::null());
    let server = Running::start(command)?;
    for _ in 0..300 {
        let health = "http://127.0.0.1:8420/healthz";
        let asked = row.at_server(&["curl", "-sf", "-o", "/dev/null", health]);
        if run(asked, LIMIT)?.status.success() {
            return Ok(server);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("the node does not answer")
}

/// A server of one file of sevens that waits before it sends each `piece` of it, and never before a
/// head, as one whose disk is slow does; its URL. One thread per connection, until the test ends.
///
/// # Errors
/// When no port is to be had.
pub fn slow_server(bytes: usize, piece: usize, wait: Duration) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream, bytes, piece, wait));
        }
    });
    Ok(format!("http://127.0.0.1:{port}/large"))
}

fn answer(mut stream: TcpStream, bytes: usize, piece: usize, wait: Duration) -> Result<()> {
    stream.set_nodelay(true)?;
    let (mut text, mut byte) = (Vec::new(), [0]);
    loop {
        stream.read_exact(&mut byte)?;
        text.extend_from_slice(&byte);
        if !text.ends_with(b"\r\n\r\n") {
            continue;
        }
        let request = String::from_utf8_lossy(&std::mem::take(&mut text)).into_owned();
        let range = request.split("bytes=").nth(1);
        let range = range.and_then(|rest| rest.split("\r\n").next()?.split_once('-'));
        let Some((first, last)) = range else {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n")?;
            continue;
        };
        let (first, last): (usize, usize) = (first.parse()?, last.parse()?);
        let length = last + 1 - first;
        write!(
            stream,
            "HTTP/1.1 206 Partial\r\nContent-Length: {length}\r\n\r\n"
        )?;
        for piece in vec![7_u8; length].chunks(piece) {
            std::thread::sleep(wait);
            stream.write_all(piece)?;
        }
    }
}
