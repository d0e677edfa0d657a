//! How long a model takes to load: header, then tensors in order, as loaders read them.
//!
//! Three ways: by range (a request of up to 4 MiB after the other, several in flight, as Python and
//! fast loaders do), by faults (one request at a time that grows from 4 KiB to 128 KiB in each
//! tensor, as the kernel's read-ahead does for a mapped file), and both with several readers that
//! each load everything, as the processes of one node do. Invariant: time to loaded runs from
//! opening the file until the last byte of the last reader is there; bytes are compared with what
//! a first reading gave. Not promised: the time that a loader takes to move them to a GPU.

mod plan;

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use towline_base::clock;
use towline_store::cut::{self, gguf, safetensors};

use crate::content::{Content, each_block};
use crate::share::Event;
use crate::source::file::PathSource;
use crate::source::http::HttpSource;
use crate::source::nfs::{self, Found};
use crate::source::{Access, Cold, Place, Queue, Source, SourceError};
use plan::{Piece, Way, pieces};
use towline_link::link::host::Look;
use towline_link::result::figure::seconds;
use towline_link::result::latency::Recorder;
use towline_link::result::{
    Better, Evidence, Kind, Limit, Report, Sample, Series, SideCpu, Unit, Verdict,
};

/// Requests in flight of one reader by range.
const DEPTH: u32 = 4;
/// Percent of a core from which one reader's own work is the limit.
const CORE_FULL: f64 = 85.0;
/// A cold load this many times longer than a warm one waits for a disk.
const COLD_TIMES: f64 = 1.4;

/// Loads shorter than this, in seconds, are mostly their beginning.
const TELLING_S: f64 = 0.2;

/// What is measured.
#[derive(Clone, Debug)]
pub struct Options {
    /// Path or URL as it was named.
    pub name: String,
    /// The same, read.
    pub place: Place,
    /// Readers at the same time, beside one alone.
    pub readers: u32,
    /// Most bytes of a file.
    pub bytes_max: u64,
}

fn open(options: &Options) -> Result<Box<dyn Source>, SourceError> {
    let folder = || {
        let text = format!("{} is a folder: name one file of the model", options.name);
        SourceError::Usage(text)
    };
    Ok(match &options.place {
        Place::Path(path) if path.is_dir() => return Err(folder()),
        Place::Path(path) => Box::new(PathSource::new(path, options.bytes_max)?),
        Place::Nfs(place) => match nfs::find(place, options.bytes_max)? {
            Found::File(file) => Box::new(file),
            Found::Folder(_) => return Err(folder()),
        },
        Place::Http(place) => Box::new(HttpSource::new(place, options.bytes_max)?),
    })
}

/// Reads a range through a queue of one request, a block at a time.
fn read_range(source: &dyn Source, offset: u64, into: &mut [u8]) -> Result<(), SourceError> {
    let block_bytes = source.block_bytes_max().min(1 << 20);
    let mut queue = source.open(Access {
        depth: 1,
        block_bytes,
        is_sequential: false,
        is_direct: false,
    })?;
    let mut at = offset;
    for part in into.chunks_mut(block_bytes as usize) {
        queue.submit(0, at, part.len() as u32)?;
        queue.wait(&mut |_, bytes| {
            part.copy_from_slice(bytes);
            Ok(())
        })?;
        at += part.len() as u64;
    }
    Ok(())
}

/// Offset and length of every tensor, in order; `None` where the header is not understood. At most
/// [`cut::HEADER_BYTES_MAX`] bytes are read for it.
fn tensors(source: &dyn Source) -> Result<Option<Vec<(u64, u64)>>, SourceError> {
    let size = source.bytes();
    let start = more(source, 64)?;
    if let Some(length) = safetensors::header_bytes(&start, size) {
        let mut json = vec![0; length as usize];
        read_range(source, 8, &mut json)?;
        let parsed = safetensors::parse(&json, size - 8 - length).ok();
        return Ok(parsed.map(|tensors| placed(8 + length, &tensors)));
    }
    if !start.starts_with(gguf::MAGIC) {
        return Ok(None);
    }
    let mut length = size.min(1 << 20);
    loop {
        match gguf::parse(&more(source, length)?, size) {
            Ok(header) => return Ok(Some(placed(header.data_start, &header.tensors))),
            Err(gguf::Fault::Short) if length < size.min(cut::HEADER_BYTES_MAX) => {
                length = (length * 4).min(size).min(cut::HEADER_BYTES_MAX);
            }
            Err(_) => return Ok(None),
        }
    }
}

/// The first `length` bytes, or all there are.
fn more(source: &dyn Source, length: u64) -> Result<Vec<u8>, SourceError> {
    let mut bytes = vec![0; length.min(source.bytes()) as usize];
    read_range(source, 0, &mut bytes)?;
    Ok(bytes)
}

fn placed(data_start: u64, tensors: &[cut::Described]) -> Vec<(u64, u64)> {
    let place = |one: &cut::Described| (data_start + one.start, one.end - one.start);
    tensors.iter().map(place).collect()
}

/// Measures.
///
/// # Errors
/// [`SourceError`]; a file that is neither safetensors nor GGUF is one of usage.
pub fn run(
    options: &Options,
    stop: &AtomicBool,
    show: &mut dyn FnMut(Event<'_>),
) -> Result<Report, SourceError> {
    let source = open(options)?;
    let source = &*source;
    let tensors = tensors(source)?.ok_or_else(|| {
        SourceError::Usage(format!(
            "{}: neither a safetensors nor a GGUF file, or its header is damaged. Measure any \
             other file with 'towline bench share'",
            options.name
        ))
    })?;
    let started = clock::since_epoch().as_secs();
    let mut report = Report::new(Kind::Model, options.name.clone(), started);
    report.put("tensors", tensors.len() as f64, Unit::Count, Better::Higher);
    show(Event::Begins("reading all of it once"));
    let mut content = Content::new(&options.name, "read", source.bytes());
    let begun = clock::now();
    each_block(source, &mut |offset, bytes| {
        content.learn(offset, bytes);
        Ok(())
    })?;
    let first = begun.elapsed().as_secs_f64();
    report.put("first_read", first, Unit::Seconds, Better::Lower);
    let mut session = Session {
        report,
        source,
        content: &content,
        tensors: &tensors,
        stop,
        show,
    };
    session.all(options.readers)?;
    Ok(session.report)
}

struct Session<'a, 'b> {
    report: Report,
    source: &'a dyn Source,
    content: &'a Content,
    tensors: &'a [(u64, u64)],
    stop: &'a AtomicBool,
    show: &'b mut dyn FnMut(Event<'_>),
}

/// What one load took.
struct Loaded {
    seconds: f64,
    bytes: u64,
    percent: f64,
}

impl Session<'_, '_> {
    fn all(&mut self, readers: u32) -> Result<(), SourceError> {
        let is_cold = match self.source.cool() {
            Cold::Yes => true,
            Cold::Stays(share) => {
                let percent = 100.0 * share;
                let note = format!("no cold figures: {percent:.0} % of the file stays in memory");
                self.report.notes.push(note);
                false
            }
            Cold::No(why) => {
                self.report.notes.push(format!("no cold figures: {why}"));
                false
            }
        };
        let mut cold = None;
        let mut warm = None;
        for way in [Way::Range, Way::Faults] {
            if is_cold {
                self.source.cool();
                let loaded = self.load(&format!("{}_cold", way.word()), way, 1)?;
                cold.get_or_insert(loaded.seconds);
            }
            // Brings it back into memory.
            each_block(self.source, &mut |_, _| Ok(()))?;
            let name = if way == Way::Range {
                "model"
            } else {
                way.word()
            };
            let loaded = self.load(name, way, 1)?;
            warm.get_or_insert(loaded);
            if readers > 1 {
                self.load(&format!("{}_readers_{readers}", way.word()), way, readers)?;
            }
        }
        (self.show)(Event::Begins("comparing every byte"));
        let bytes = self.content.verify(self.source)?;
        self.report
            .put("verified_bytes", bytes as f64, Unit::Count, Better::Higher);
        self.report.put_first("model");
        self.report.verdict = warm.map(|warm| self.verdict(&warm, cold));
        Ok(())
    }

    fn load(&mut self, name: &str, way: Way, readers: u32) -> Result<Loaded, SourceError> {
        (self.show)(Event::Begins(name));
        let pieces = pieces(self.source, self.tensors, way);
        let load = Load {
            source: self.source,
            content: self.content,
            stop: self.stop,
            pieces: &pieces,
            way,
        };
        let before = Look::now();
        let begun = clock::now();
        let recorders: Result<Vec<Recorder>, SourceError> = std::thread::scope(|scope| {
            let start = |_| scope.spawn(|| load.run());
            let running: Vec<_> = (0..readers).map(start).collect();
            let lost = |_| SourceError::server("a reader", "it ended early");
            let ended = running.into_iter();
            ended.map(|thread| thread.join().map_err(lost)?).collect()
        });
        let mut all = Recorder::default();
        for one in recorders? {
            all.merge(&one);
        }
        let seconds = begun.elapsed().as_secs_f64();
        let after = Look::now();
        let each: u64 = pieces.iter().map(|piece| u64::from(piece.length)).sum();
        let bytes = each * u64::from(readers);
        self.report.put(name, seconds, Unit::Seconds, Better::Lower);
        let rate = bytes as f64 * 8.0 / seconds.max(1e-9);
        let rate_name = format!("{name}_rate");
        self.report
            .put(&rate_name, rate, Unit::BitsPerSecond, Better::Higher);
        let percent = after.process_since(&before).total;
        self.report.cpu.push(SideCpu {
            side: format!("this host, {name}"),
            process: Some(percent),
            cores: after.cores_since(&before),
            ..SideCpu::default()
        });
        self.report.series.push(Series {
            name: name.to_owned(),
            samples: vec![Sample {
                end_s: seconds,
                bytes,
                operations: Some(all.count()),
                ..Sample::default()
            }],
        });
        self.report
            .latencies
            .extend(all.finish(name, "request until its bytes"));
        Ok(Loaded {
            seconds,
            bytes,
            percent,
        })
    }

    fn verdict(&self, warm: &Loaded, cold: Option<f64>) -> Verdict {
        let rate = warm.bytes as f64 * 8.0 / warm.seconds.max(1e-9);
        let shown = Unit::BitsPerSecond.show(rate);
        let (limit, cause, advice) = match cold {
            _ if warm.seconds < TELLING_S => (
                Limit::Unknown,
                format!(
                    "loaded in {}, too soon to tell a limit",
                    seconds(warm.seconds)
                ),
                "measure a larger file",
            ),
            Some(cold) if cold > COLD_TIMES * warm.seconds => (
                Limit::Disk,
                format!(
                    "{} cold, {} from memory: a first load waits for a disk",
                    seconds(cold),
                    seconds(warm.seconds)
                ),
                "'towline bench disk' tells what the disk could give; keep hot models in memory",
            ),
            _ if warm.percent >= CORE_FULL => (
                Limit::Cpu,
                format!(
                    "one reader used {:.0} % of a core for {shown}",
                    warm.percent
                ),
                "load with several readers, each its own tensors",
            ),
            _ => (
                Limit::Server,
                format!(
                    "{shown} with {:.0} % of a core: the bytes come no faster",
                    warm.percent
                ),
                "'towline bench share' on the same place tells server, path and disk apart",
            ),
        };
        let mut evidence = vec![
            (
                "warm",
                format!("warm: {} ({shown})", seconds(warm.seconds)),
                warm.seconds,
            ),
            (
                "reader",
                format!("reader: {:.0} % of a core", warm.percent),
                warm.percent,
            ),
        ];
        evidence.extend(cold.map(|cold| ("cold", format!("cold: {}", seconds(cold)), cold)));
        let evidence = evidence.into_iter().map(|(name, says, value)| Evidence {
            name: name.to_owned(),
            says,
            value,
        });
        Verdict {
            limit,
            cause,
            advice: advice.to_owned(),
            evidence: evidence.collect(),
        }
    }
}

/// What each reader is given.
struct Load<'a> {
    source: &'a dyn Source,
    content: &'a Content,
    stop: &'a AtomicBool,
    pieces: &'a [Piece],
    way: Way,
}

impl Load<'_> {
    fn run(&self) -> Result<Recorder, SourceError> {
        let depth = match self.way {
            Way::Range => DEPTH,
            Way::Faults => 1,
        };
        let mut queue = self.source.open(Access {
            depth,
            block_bytes: self.way.bytes_max(self.source),
            is_sequential: false,
            is_direct: false,
        })?;
        let mut reader = Reader {
            recorder: Recorder::default(),
            asked: vec![(0, clock::now()); depth as usize],
            idle: (0..depth as usize).collect(),
        };
        for piece in self.pieces {
            if self.stop.load(std::sync::atomic::Ordering::Relaxed) {
                return Err(SourceError::Stopped);
            }
            while reader.idle.is_empty() {
                reader.take(&mut *queue, self.content)?;
            }
            if let Some(slot) = reader.idle.pop() {
                if let Some(entry) = reader.asked.get_mut(slot) {
                    *entry = (piece.offset, clock::now());
                }
                queue.submit(slot, piece.offset, piece.length)?;
            }
        }
        while reader.idle.len() < depth as usize {
            reader.take(&mut *queue, self.content)?;
        }
        Ok(reader.recorder)
    }
}

struct Reader {
    recorder: Recorder,
    asked: Vec<(u64, Instant)>,
    idle: Vec<usize>,
}

impl Reader {
    fn take(&mut self, queue: &mut dyn Queue, content: &Content) -> Result<(), SourceError> {
        queue.wait(&mut |slot, bytes| {
            let Some((offset, asked)) = self.asked.get(slot).copied() else {
                return Ok(());
            };
            let time: Duration = asked.elapsed();
            self.recorder.record(time);
            self.idle.push(slot);
            // Tensors begin where they like; the quick look is for whole pages.
            match offset % 4096 {
                0 => content.glance(offset, bytes),
                _ => Ok(()),
            }
        })
    }
}
