//! `towline bench share URL|MOUNTPOINT`: how fast a share is as its clients will read it.
//!
//! The work is in `towline_bench::share`; here are its options and the lines that tell progress.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Args;
use towline_bench::share;
use towline_bench::source::Place;
use towline_link::result::{Kind, Report};

use super::amount;
use super::measured::Measure;
use super::outcome::{Form, tell};
use crate::failure::Failure;

pub(crate) const EXAMPLES: &str = "\
Examples:
  towline bench share /mnt/models                  a mounted path, or any folder
  towline bench share nfs://10.0.0.2/models        NFSv3 by a client of its own, nothing mounted
  towline bench share 'nfs://10.0.0.2/models/qwen?port=2049&uid=1000'
  towline bench share http://10.0.0.2:8420/files/models/qwen/model.safetensors
  towline bench share /mnt/models --target share=9.4Gbps --html share.html
  towline bench share /mnt/models --json | jq '.verdict'

A folder that may be written to gets files of its own, in a new folder .towline-bench-* which is
removed again, and contents are compared with what was written. Otherwise, and over NFS and HTTP,
the largest file and the small ones there are read twice and must be the same. Cold figures drop
the file from this host's memory first; over NFS and HTTP the first read of all is told instead,
because a server's memory cannot be emptied from here. HTTP folders must be a towline node's.

Exit codes: 0 done and every goal met, 1 a goal missed, 2 could not run or wrong content.";

/// What is measured.
#[derive(Args, Clone, Debug)]
pub(crate) struct What {
    /// A path, nfs://HOST/EXPORT[/PATH][?port=N&mountport=N&uid=N&gid=N] or http://HOST/PATH.
    #[arg(value_name = "URL|PATH")]
    place: String,
    /// Requests in flight, one after the other; the last is the one that is judged.
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "1,8")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=256))]
    depths: Vec<u32>,
    /// Seconds for each way of reading.
    #[arg(long, short = 't', value_name = "S", default_value = "2")]
    #[arg(value_parser = amount::seconds)]
    time: Duration,
    /// Bytes of the large file that are used.
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = amount::file_size)]
    size: u64,
    /// Small files that are written.
    #[arg(long, value_name = "N", default_value_t = 256)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=4096))]
    files: u32,
    /// Bytes of each.
    #[arg(long, value_name = "SIZE", default_value = "16K", value_parser = amount::small_size)]
    file_size: u32,
    /// Write nothing, read what is there.
    #[arg(long)]
    read_only: bool,
}

impl Measure for What {
    const KIND: Kind = Kind::Share;

    fn measure(&self, stop: &AtomicBool, form: Form) -> Result<Report, Failure> {
        let place = Place::parse(&self.place).map_err(|error| Failure::usage(error.to_string()))?;
        let asked = share::Options {
            name: self.place.clone(),
            place,
            depths: self.depths.clone(),
            time: self.time,
            bytes: self.size,
            files: self.files,
            file_bytes: self.file_size,
            is_read_only: self.read_only,
        };
        Ok(share::run(&asked, stop, &mut |event| tell(event, form))?)
    }
}
