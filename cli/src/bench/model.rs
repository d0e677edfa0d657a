//! `towline bench model FILE|URL`: how long a model takes to load, as loaders read it.
//!
//! The work is in `towline_bench::model`; here are its options.

use std::sync::atomic::AtomicBool;

use clap::Args;
use towline_bench::model;
use towline_bench::source::Place;
use towline_link::result::{Kind, Report};

use super::amount;
use super::measured::Measure;
use super::outcome::{Form, tell};
use crate::failure::Failure;

pub(crate) const EXAMPLES: &str = "\
Examples:
  towline bench model /mnt/models/qwen/model.safetensors
  towline bench model nfs://10.0.0.2/models/qwen/model.gguf --readers 8
  towline bench model http://10.0.0.2:8420/files/models/qwen/model.safetensors
  towline bench model /mnt/models/qwen/model.gguf --target model=20s --html load.html

Replays what loaders read: the header, then every tensor in order. 'model' and 'range' are requests
of up to 4 MiB, four in flight; 'faults' are those of a mapped file, 4 KiB growing to 128 KiB, one
at a time (made as reads, so a file that is cut short is an error and no crash). Several readers
each load everything, as the processes of one node do. 'cold' empties this host's memory of the file
first, where that can be done; a server's memory may still hold it.

Exit codes: 0 done and every goal met, 1 a goal missed, 2 could not run or wrong content.";

/// What is measured.
#[derive(Args, Clone, Debug)]
pub(crate) struct What {
    /// A safetensors or GGUF file: a path, nfs://HOST/EXPORT/FILE or http://HOST/FILE.
    #[arg(value_name = "FILE|URL")]
    place: String,
    /// Readers at the same time, measured beside one alone.
    #[arg(long, value_name = "N", default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=64))]
    readers: u32,
    /// Largest file that is read.
    #[arg(long, value_name = "SIZE", default_value = "1T", value_parser = amount::file_size)]
    size: u64,
}

impl Measure for What {
    const KIND: Kind = Kind::Model;

    fn measure(&self, stop: &AtomicBool, form: Form) -> Result<Report, Failure> {
        let place = Place::parse(&self.place).map_err(|error| Failure::usage(error.to_string()))?;
        let asked = model::Options {
            name: self.place.clone(),
            place,
            readers: self.readers,
            bytes_max: self.size,
        };
        Ok(model::run(&asked, stop, &mut |event| tell(event, form))?)
    }
}
