//! `towline bench rr HOST`: how long a small request and its reply take, programs included.
//!
//! The other end must be towline: `towline bench serve`, or a node with `[bench] iperf3 = true`.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use towline_link::result::{Kind, Report, Unit};
use towline_link::rr::{self, MESSAGE_BYTES_MAX};

use super::measured::Measure;
use super::outcome::{Form, event};
use crate::failure::Failure;
use crate::output;

pub(crate) const EXAMPLES: &str = "\
Examples:
  towline bench rr 10.0.0.2                              one byte each way for 10 s
  towline bench rr 10.0.0.2 --request 128 --reply 4096   as reading a small block
  towline bench rr 10.0.0.2 --target rr=0.1ms,rr_p99=1ms

The other end must be towline ('towline bench serve' there); an iperf3 server answers no requests.

Exit codes: 0 done and every goal met, 1 a goal missed, 2 could not run.";

/// What is measured.
#[derive(Args, Clone, Debug)]
pub(crate) struct What {
    /// The other end: a name or an address.
    host: String,
    /// Its port.
    #[arg(long, short, value_name = "N", default_value_t = towline_link::iperf3::PORT)]
    port: u16,
    /// Seconds.
    #[arg(long, short = 't', value_name = "S", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=86_400))]
    time: u32,
    /// Bytes of a request.
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=MESSAGE_BYTES_MAX as i64))]
    request: u32,
    /// Bytes of a reply.
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=MESSAGE_BYTES_MAX as i64))]
    reply: u32,
}

impl Measure for What {
    const KIND: Kind = Kind::RequestResponse;

    fn measure(&self, stop: &AtomicBool, form: Form) -> Result<Report, Failure> {
        let asked = rr::Options {
            host: self.host.clone(),
            port: self.port,
            time: Duration::from_secs(self.time.into()),
            request_bytes: self.request,
            reply_bytes: self.reply,
        };
        let report = rr::run(&asked, stop, |sample| {
            let rate = sample.operations.unwrap_or(0) as f64 / sample.seconds();
            let rate = Unit::PerSecond.show(rate);
            let line = match form {
                Form::Text => format!("{:>6.1} s  {rate:>12}\n", sample.end_s),
                Form::JsonStream => event("interval", &json!(sample)),
                Form::Json | Form::Csv => return,
            };
            // Where the terminal is gone the end of the test says so.
            let _ = output::print(&line);
        })?;
        Ok(report)
    }
}
