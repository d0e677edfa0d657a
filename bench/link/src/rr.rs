//! Round trips of small messages through sockets and programs, as a request and its reply see them.
//!
//! The other end must be towline: its iperf3 port answers the cookie [`HELLO`] with one octet
//! ([`READY`]) and then echoes sizes that it is told. Wire: cookie (37 octets), `R` back, two
//! numbers of four octets (bytes of a request, bytes of a reply), then requests and replies in
//! turn until the client closes. Invariant: sizes and time are bounded by the answering end.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use towline_base::clock;

use crate::iperf3::{Cookie, Fault};
use crate::link::LinkError;
use crate::link::Way;
use crate::result::latency::Recorder;
use crate::result::{Better, Kind, Report, Sample, Series, Unit};

/// The cookie that asks for echoes.
pub const HELLO: [u8; 37] = *b"towline-request-response-version-1--\0";
/// The octet that grants them.
pub const READY: u8 = b'R';
/// Largest request or reply in bytes.
pub const MESSAGE_BYTES_MAX: u32 = 64 * 1024;
/// Longest wait for one message.
const MESSAGE_MAX: Duration = Duration::from_secs(10);
/// Longest wait for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// The other end.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How long.
    pub time: Duration,
    /// Bytes of a request, 1 to [`MESSAGE_BYTES_MAX`].
    pub request_bytes: u32,
    /// Bytes of a reply, 1 to [`MESSAGE_BYTES_MAX`].
    pub reply_bytes: u32,
}

/// Whether a cookie asks for echoes.
#[must_use]
pub fn is_hello(cookie: &Cookie) -> bool {
    *cookie.as_bytes() == HELLO
}

/// Answers requests until the client closes: the answering end's thread.
///
/// # Errors
/// What the socket says, and `InvalidData` for sizes out of range.
pub fn answer(stream: &mut TcpStream) -> io::Result<u64> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(MESSAGE_MAX))?;
    stream.set_write_timeout(Some(MESSAGE_MAX))?;
    stream.write_all(&[READY])?;
    let (mut request, mut reply) = (size(stream)?, size(stream)?);
    let mut count = 0;
    loop {
        match stream.read_exact(&mut request) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(count),
            Err(error) => return Err(error),
        }
        if let (Some(to), Some(from)) = (reply.first_mut(), request.first()) {
            *to = *from;
        }
        stream.write_all(&reply)?;
        count += 1;
    }
}

fn size(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes)?;
    let length = u32::from_be_bytes(bytes);
    match (1..=MESSAGE_BYTES_MAX).contains(&length) {
        true => Ok(vec![0; length as usize]),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Asks for as long as it is told.
///
/// # Errors
/// [`LinkError`] when the other end is not there, busy, or no towline.
pub fn run(
    options: &Options,
    stop: &AtomicBool,
    mut show: impl FnMut(&Sample),
) -> Result<Report, LinkError> {
    let started = clock::since_epoch();
    let mut stream = connect(options)?;
    let lost = |error| LinkError::system(format!("the connection to {}", options.host), error);
    for bytes in [options.request_bytes, options.reply_bytes] {
        stream.write_all(&bytes.to_be_bytes()).map_err(lost)?;
    }
    let mut request = vec![0_u8; options.request_bytes as usize];
    let mut reply = vec![0_u8; options.reply_bytes as usize];
    let mut recorder = Recorder::default();
    let mut series = Series {
        name: "round trips".to_owned(),
        samples: Vec::new(),
    };
    let begun = clock::now();
    let mut sample = Sample::default();
    while begun.elapsed() < options.time && !stop.load(Ordering::Relaxed) {
        let asked = clock::now();
        if let Some(first) = request.first_mut() {
            *first = first.wrapping_add(1);
        }
        stream.write_all(&request).map_err(lost)?;
        stream.read_exact(&mut reply).map_err(lost)?;
        recorder.record(asked.elapsed());
        if reply.first() != request.first() {
            return Err(lost(io::ErrorKind::InvalidData.into()));
        }
        sample.operations = Some(sample.operations.unwrap_or(0) + 1);
        sample.bytes += u64::from(options.request_bytes) + u64::from(options.reply_bytes);
        sample.end_s = begun.elapsed().as_secs_f64();
        if sample.end_s - sample.start_s >= 1.0 {
            show(&sample);
            let start_s = sample.end_s;
            series.samples.push(std::mem::take(&mut sample));
            sample.start_s = start_s;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    if sample.bytes > 0 {
        series.samples.push(sample);
    }
    Ok(report(options, started, &recorder, series, seconds))
}

fn connect(options: &Options) -> Result<TcpStream, LinkError> {
    let unreachable = |error| LinkError::Unreachable {
        host: options.host.clone(),
        port: options.port,
        error,
    };
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in Way::default().resolve(&options.host, options.port)? {
        match TcpStream::connect_timeout(&address, CONNECT_MAX) {
            Ok(stream) => {
                let busy = || LinkError::Protocol {
                    peer: options.host.clone(),
                    fault: Fault::Busy,
                };
                return greet(stream, options).map_err(|error| error.unwrap_or_else(busy));
            }
            Err(error) => last = error,
        }
    }
    Err(unreachable(last))
}

/// The inner `None` means busy.
fn greet(mut stream: TcpStream, options: &Options) -> Result<TcpStream, Option<LinkError>> {
    let lost = |error| {
        let what = format!("the connection to {}", options.host);
        Some(LinkError::system(what, error))
    };
    stream.set_nodelay(true).map_err(lost)?;
    stream.set_read_timeout(Some(MESSAGE_MAX)).map_err(lost)?;
    stream.write_all(&HELLO).map_err(lost)?;
    let mut word = [0];
    match stream.read_exact(&mut word) {
        Ok(()) => {}
        // A busy server of the C program may reset before its word is read.
        Err(_) => return Err(None),
    }
    match word {
        [READY] => Ok(stream),
        [0xff] => Err(None),
        _ => Err(Some(LinkError::Usage(format!(
            "{} port {} is an iperf3 server, which answers no requests: start 'towline bench \
             serve' there, or measure with 'towline bench link', which tells round trips too",
            options.host, options.port
        )))),
    }
}

fn report(
    options: &Options,
    started: Duration,
    recorder: &Recorder,
    series: Series,
    seconds: f64,
) -> Report {
    let subject = options.host.clone();
    let mut report = Report::new(Kind::RequestResponse, subject, started.as_secs());
    let sizes = [
        ("request_bytes", options.request_bytes),
        ("reply_bytes", options.reply_bytes),
    ];
    for (name, bytes) in sizes {
        report.options.insert(name.to_owned(), bytes.to_string());
    }
    if let Some(latency) = recorder.finish("rr", "request and reply over TCP") {
        let rate = latency.count as f64 / seconds.max(1e-9);
        report.put_latency("rr", latency);
        report.put("rr_rate", rate, Unit::PerSecond, Better::Higher);
    }
    report.series.push(series);
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn sizes_out_of_range_are_refused() {
        for (bytes, fits) in [(0, false), (1, true), (65_536, true), (65_537, false)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let client = std::thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                let number = u32::to_be_bytes(bytes);
                stream.write_all(&[number, number].concat()).unwrap();
                let _reset = stream.shutdown(std::net::Shutdown::Write);
                let mut rest = Vec::new();
                let _reset = stream.read_to_end(&mut rest);
            });
            let (mut stream, _) = listener.accept().unwrap();
            assert_eq!(answer(&mut stream).is_ok(), fits, "{bytes}");
            drop(stream);
            client.join().unwrap();
        }
    }
}
