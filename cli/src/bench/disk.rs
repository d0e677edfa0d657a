//! `towline bench disk PATH`: what a disk gives, buffered and direct, at several depths.
//!
//! The work is in `towline_bench::disk`; here are its options.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Args;
use towline_bench::disk;
use towline_link::result::{Kind, Report};

use super::amount;
use super::measured::Measure;
use super::outcome::{Form, tell};
use crate::failure::Failure;

pub(crate) const EXAMPLES: &str = "\
Examples:
  towline bench disk /var/lib/towline            writes a file there, reads it, removes it
  towline bench disk /srv/model.safetensors      reads a file that is there
  towline bench disk /var/lib/towline --depths 1,2,4,8,16,32 --size 4G
  towline bench disk /var/lib/towline --target disk=20Gbps

Reads go through io_uring (one thread per request where that is forbidden; a note says so), direct
(O_DIRECT) and buffered with the file dropped from memory before. Nothing is left behind. 'disk' is
the fastest sequential figure: no share on this disk can be faster, except from memory.

Exit codes: 0 done and every goal met, 1 a goal missed, 2 could not run or wrong content.";

/// What is measured.
#[derive(Args, Clone, Debug)]
pub(crate) struct What {
    /// A file, or a folder to write one in.
    path: PathBuf,
    /// Requests in flight, one after the other.
    #[arg(
        long,
        value_name = "N,N",
        value_delimiter = ',',
        default_value = "1,4,32"
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=256))]
    depths: Vec<u32>,
    /// Seconds for each way of reading.
    #[arg(long, short = 't', value_name = "S", default_value = "2")]
    #[arg(value_parser = amount::seconds)]
    time: Duration,
    /// Bytes of the file that are used.
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = amount::file_size)]
    size: u64,
}

impl Measure for What {
    const KIND: Kind = Kind::Disk;

    fn measure(&self, stop: &AtomicBool, form: Form) -> Result<Report, Failure> {
        let asked = disk::Options {
            path: self.path.clone(),
            depths: self.depths.clone(),
            time: self.time,
            bytes: self.size,
        };
        Ok(disk::run(&asked, stop, &mut |event| tell(event, form))?)
    }
}
