//! One way of reading one file, for a time: size of blocks, order, requests in flight.
//!
//! Invariant: a block counts when it is whole and its content was looked at; latencies run from
//! the request until then. Streams of an answer that goes on behind the block are cut at the end of
//! the time, and what has come of their blocks counts: waiting for them would count time in which
//! the line carries bytes that nobody asked for. A random order visits every block once before any
//! comes again, so a cold one never reads what it has just brought into memory. Not promised: more
//! than one thread; what it used of a core is told, so a reader sees when that was the limit.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use towline_base::clock;

use crate::content::Content;
use crate::source::{Access, Queue, Source, SourceError, region};
use towline_link::link::host::Look;
use towline_link::result::latency::Recorder;
use towline_link::result::{Better, CoreUse, Latency, Report, Sample, Series, SideCpu, Unit};

/// Length of a sample.
const SAMPLE: Duration = Duration::from_millis(250);

/// How a file is read.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Its name in reports, such as `read 4 KiB random, depth 8`.
    pub name: String,
    /// Requests.
    pub access: Access,
    /// How long, at most.
    pub time: Duration,
    /// Ends when every block was read once.
    pub is_once: bool,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Seconds it took.
    pub seconds: f64,
    /// Payload bytes.
    pub bytes: u64,
    /// Requests answered.
    pub operations: u64,
    /// Their times.
    pub latency: Option<Latency>,
    /// Bytes over time.
    pub series: Series,
    /// Percent of one core that this process used.
    pub process_percent: f64,
    /// Cores of this host.
    pub cores: Vec<CoreUse>,
}

impl Measured {
    /// Payload bits per second.
    #[must_use]
    pub fn bits_per_second(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.seconds.max(1e-9)
    }

    /// Requests per second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.operations as f64 / self.seconds.max(1e-9)
    }

    /// Puts all of it into a report: figure `name`, its 99th percentile, distribution, samples and
    /// processors.
    pub fn put_into(&self, report: &mut Report, name: &str, counts: Counts) {
        let (value, unit) = match counts {
            Counts::Bytes => (self.bits_per_second(), Unit::BitsPerSecond),
            Counts::Requests => (self.per_second(), Unit::PerSecond),
        };
        report.put(name, value, unit, Better::Higher);
        if let Some(latency) = &self.latency {
            let beyond = format!("{name}_p99");
            report.put(&beyond, latency.p99_s, Unit::Seconds, Better::Lower);
            report.latencies.push(latency.clone());
        }
        report.series.push(self.series.clone());
        report.cpu.push(SideCpu {
            side: format!("this host, {}", self.series.name),
            process: Some(self.process_percent),
            cores: self.cores.clone(),
            ..SideCpu::default()
        });
    }
}

/// What the figure of a way of reading counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Counts {
    /// Payload bits per second.
    Bytes,
    /// Requests per second.
    Requests,
}

/// Every number below `count` once, then again: a full-period congruence over the next power of two
/// (Hull and Dobell 1962), numbers beyond `count` left out.
#[derive(Clone, Debug)]
struct Shuffle {
    count: u64,
    mask: u64,
    state: u64,
}

impl Shuffle {
    fn new(count: u64) -> Self {
        let mask = count.next_power_of_two().max(8) - 1;
        Self {
            count: count.max(1),
            mask,
            state: 0x9e37_79b9 & mask,
        }
    }
}

impl Iterator for Shuffle {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        loop {
            // Multiplier minus one divisible by four, increment odd: the period is the modulus.
            let next = self.state.wrapping_mul(0x5851_f42d_4c95_7f2d);
            self.state = next.wrapping_add(0x1405_7b7e_f767_814f) & self.mask;
            // Low bits of such a sequence alternate; their order is turned around. That is a
            // bijection, so each number still comes once.
            let bits = (self.mask + 1).trailing_zeros();
            let value = self.state.reverse_bits() >> (64 - bits);
            if value < self.count {
                return Some(value);
            }
        }
    }
}

/// The places of each slot.
enum Order {
    /// All slots take the next block of one sequence.
    Shared {
        next: u64,
    },
    /// Each slot has a part: begin, next, end.
    Parts(Vec<(u64, u64, u64)>),
    Random(Shuffle),
}

struct Places {
    order: Order,
    bytes: u64,
    block: u64,
    /// Blocks that may still be asked for.
    left: u64,
}

impl Places {
    fn new(source: &dyn Source, load: &Workload) -> Self {
        let access = &load.access;
        let block = u64::from(access.block_bytes);
        let bytes = source.bytes();
        let order = match (access.is_sequential, source.streams()) {
            (true, false) => Order::Shared { next: 0 },
            (true, true) => {
                let part = |slot| {
                    let (start, end) = region(bytes, access, slot);
                    (start, start, end)
                };
                Order::Parts((0..access.depth as usize).map(part).collect())
            }
            (false, _) => Order::Random(Shuffle::new((bytes / block).max(1))),
        };
        let left = match (load.is_once, access.is_sequential) {
            (false, _) => u64::MAX,
            (true, true) => bytes.div_ceil(block),
            (true, false) => (bytes / block).max(1),
        };
        Self {
            order,
            bytes,
            block,
            left,
        }
    }

    /// Offset and length of the next block of a slot; `None` when it has none.
    fn next(&mut self, slot: usize, is_once: bool) -> Option<(u64, u32)> {
        self.left = self.left.checked_sub(1)?;
        let (offset, end) = match &mut self.order {
            Order::Shared { next } => {
                let offset = if *next >= self.bytes { 0 } else { *next };
                *next = offset + self.block;
                (offset, self.bytes)
            }
            Order::Random(shuffle) => (shuffle.next()? * self.block, self.bytes),
            Order::Parts(parts) => {
                let (start, next, end) = parts.get_mut(slot)?;
                if *next >= *end {
                    if is_once || start == end {
                        self.left += 1;
                        return None;
                    }
                    *next = *start;
                }
                let offset = *next;
                *next += self.block;
                (offset, *end)
            }
        };
        Some((offset, self.block.min(end - offset) as u32))
    }
}

struct Run<'a> {
    load: &'a Workload,
    content: &'a Content,
    recorder: Recorder,
    begun: Instant,
    asked: Vec<(u64, Instant)>,
    idle: Vec<usize>,
    in_flight: usize,
    bytes: u64,
    operations: u64,
    sample: Sample,
    samples: Vec<Sample>,
    look: Look,
}

/// Reads until the time is up, all blocks were read, or `stop` is raised.
///
/// # Errors
/// What the source says, wrong content, or [`SourceError::Stopped`].
pub fn run(
    source: &dyn Source,
    load: &Workload,
    content: &Content,
    stop: &AtomicBool,
) -> Result<Measured, SourceError> {
    let depth = load.access.depth as usize;
    let mut queue = source.open(load.access)?;
    let before = Look::now();
    let begun = clock::now();
    let mut run = Run {
        load,
        content,
        recorder: Recorder::default(),
        begun,
        asked: vec![(0, begun); depth],
        idle: (0..depth).rev().collect(),
        in_flight: 0,
        bytes: 0,
        operations: 0,
        sample: Sample::default(),
        samples: Vec::new(),
        look: before.clone(),
    };
    let mut places = Places::new(source, load);
    run.go(&mut *queue, &mut places, stop)?;
    drop(queue);
    let after = Look::now();
    let seconds = begun.elapsed().as_secs_f64();
    run.end_last(seconds);
    Ok(Measured {
        seconds,
        bytes: run.bytes,
        operations: run.operations,
        latency: run.recorder.finish(&load.name, "request until its bytes"),
        series: Series {
            name: load.name.clone(),
            samples: run.samples,
        },
        process_percent: after.process_since(&before).total,
        cores: after.cores_since(&before),
    })
}

impl Run<'_> {
    fn go(
        &mut self,
        queue: &mut dyn Queue,
        places: &mut Places,
        stop: &AtomicBool,
    ) -> Result<(), SourceError> {
        loop {
            let elapsed = self.begun.elapsed();
            if stop.load(Ordering::Relaxed) {
                return Err(SourceError::Stopped);
            }
            if elapsed < self.load.time {
                self.ask(queue, places)?;
            } else if let Some(bytes) = queue.arrived() {
                self.bytes += bytes;
                self.sample.bytes += bytes;
                return Ok(());
            }
            if self.in_flight == 0 {
                return Ok(());
            }
            self.take(queue)?;
            let now = self.begun.elapsed().as_secs_f64();
            if now - self.sample.start_s >= SAMPLE.as_secs_f64() {
                self.end_sample(now);
            }
        }
    }

    fn ask(&mut self, queue: &mut dyn Queue, places: &mut Places) -> Result<(), SourceError> {
        for slot in std::mem::take(&mut self.idle) {
            // A slot without a next block has none later either.
            let Some((offset, length)) = places.next(slot, self.load.is_once) else {
                continue;
            };
            if let Some(entry) = self.asked.get_mut(slot) {
                *entry = (offset, clock::now());
            }
            queue.submit(slot, offset, length)?;
            self.in_flight += 1;
        }
        Ok(())
    }

    fn take(&mut self, queue: &mut dyn Queue) -> Result<(), SourceError> {
        queue.wait(&mut |slot, bytes| {
            let (offset, asked) = self.asked.get(slot).copied().unwrap_or((0, self.begun));
            self.recorder.record(asked.elapsed());
            self.bytes += bytes.len() as u64;
            self.operations += 1;
            self.sample.bytes += bytes.len() as u64;
            self.sample.operations = Some(self.sample.operations.unwrap_or(0) + 1);
            self.idle.push(slot);
            self.in_flight -= 1;
            self.content.glance(offset, bytes)
        })
    }

    /// What is left at the end; too little for a sample of its own goes to the one before.
    fn end_last(&mut self, now: f64) {
        let is_short = now - self.sample.start_s < SAMPLE.as_secs_f64() / 2.0;
        match self.samples.last_mut() {
            Some(last) if is_short => {
                last.bytes += self.sample.bytes;
                let more = self.sample.operations.unwrap_or(0);
                last.operations = last.operations.map(|count| count + more);
                last.end_s = now;
            }
            _ if self.sample.bytes > 0 => self.end_sample(now),
            _ => {}
        }
    }

    fn end_sample(&mut self, now: f64) {
        let look = Look::now();
        let cores = look.cores_since(&self.look);
        let busiest = cores.iter().map(|core| core.busy).fold(f64::NAN, f64::max);
        self.look = look;
        self.sample.end_s = now;
        self.sample.busiest_core_percent = busiest.is_finite().then_some(busiest);
        self.samples.push(std::mem::take(&mut self.sample));
        self.sample.start_s = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::{BLOCK_BYTES, each_block};
    use crate::source::file::PathSource;

    #[test]
    fn a_shuffle_has_every_number_once() {
        for count in [1, 2, 7, 8, 9, 1000, 4096] {
            let mut seen: Vec<u64> = Shuffle::new(count).take(count as usize).collect();
            let in_order = seen
                .windows(2)
                .filter(|pair| pair[0] + 1 == pair[1])
                .count();
            assert!(count < 1000 || in_order < count as usize / 10, "{count}");
            seen.sort_unstable();
            assert_eq!(seen, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn once_means_every_byte_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, vec![9; 2_500_000]).unwrap();
        let source = PathSource::new(&path, u64::MAX).unwrap();
        let mut content = Content::new("x", "read", source.bytes());
        let read = each_block(&source, &mut |offset, bytes| {
            content.learn(offset, bytes);
            Ok(())
        });
        assert_eq!(read.unwrap(), 2_500_000);
        for (is_sequential, bytes) in [(true, 2_500_000), (false, 2 * u64::from(BLOCK_BYTES))] {
            let load = Workload {
                name: String::new(),
                access: Access {
                    depth: 3,
                    block_bytes: BLOCK_BYTES,
                    is_sequential,
                    is_direct: false,
                },
                time: Duration::from_secs(20),
                is_once: true,
            };
            let measured = run(&source, &load, &content, &AtomicBool::new(false)).unwrap();
            assert_eq!(measured.bytes, bytes);
        }
    }
}
