//! Rates of names and small files: stat, list and read, from one thread and from several.
//!
//! Invariant: every answer is looked at: a length that changed, a list that lost a name or a file
//! that reads otherwise than the first time ends the measurement. Each thread has a connection of
//! its own. Not promised: that this host's own cache of names is empty on a mounted path.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use towline_base::clock;

use crate::source::{Entry, SourceError, Tree, Walk};
use crate::workload::Measured;
use towline_link::link::host::Look;
use towline_link::result::latency::Recorder;
use towline_link::result::{Sample, Series};

/// Most threads: beyond that they wait for cores of this host.
pub(super) const THREADS_MAX: u32 = 8;

#[derive(Clone, Copy)]
enum Call {
    Stat,
    List,
    Read,
}

struct Job<'a> {
    tree: &'a dyn Tree,
    small: &'a [Entry],
    hashes: &'a [blake3::Hash],
    time: Duration,
    stop: &'a AtomicBool,
}

/// What one thread did.
struct Done {
    recorder: Recorder,
    bytes: u64,
}

/// Rates by name: `stat`, `list`, `small_files`, and with `_depth_N` those of several threads.
pub(super) fn measure(
    tree: &dyn Tree,
    small: &[Entry],
    threads: u32,
    time: Duration,
    stop: &AtomicBool,
) -> Result<Vec<(String, Measured)>, SourceError> {
    let mut walk = tree.open()?;
    let hash = |entry: &Entry| Ok(blake3::hash(&walk.read(&entry.name)?));
    let hashes: Result<Vec<blake3::Hash>, SourceError> = small.iter().map(hash).collect();
    let hashes = hashes?;
    drop(walk);
    let job = Job {
        tree,
        small,
        hashes: &hashes,
        // Three calls, each once alone and once together, take as long as two other loads.
        time: time / 3,
        stop,
    };
    let mut found = Vec::new();
    for (call, name) in [
        (Call::Stat, "stat"),
        (Call::List, "list"),
        (Call::Read, "small_files"),
    ] {
        if small.is_empty() && !matches!(call, Call::List) {
            continue;
        }
        found.push((name.to_owned(), job.run(call, name, 1)?));
        if threads > 1 {
            let name = format!("{name}_depth_{threads}");
            let measured = job.run(call, &name, threads)?;
            found.push((name, measured));
        }
    }
    Ok(found)
}

impl Job<'_> {
    fn run(&self, call: Call, name: &str, threads: u32) -> Result<Measured, SourceError> {
        let before = Look::now();
        let begun = clock::now();
        let done: Result<Vec<Done>, SourceError> = std::thread::scope(|scope| {
            let start = |thread| scope.spawn(move || self.one(call, thread as usize));
            let running: Vec<_> = (0..threads).map(start).collect();
            let ended = running.into_iter().map(|thread| {
                let lost = |_| SourceError::server("a thread", "it ended early");
                thread.join().map_err(lost)?
            });
            ended.collect()
        });
        let done = done?;
        let after = Look::now();
        let seconds = begun.elapsed().as_secs_f64();
        let mut all = Recorder::default();
        let mut bytes = 0;
        for one in &done {
            all.merge(&one.recorder);
            bytes += one.bytes;
        }
        let cores = after.cores_since(&before);
        let busiest = cores.iter().map(|core| core.busy).fold(0.0, f64::max);
        let sample = Sample {
            end_s: seconds,
            bytes,
            operations: Some(all.count()),
            busiest_core_percent: Some(busiest),
            ..Sample::default()
        };
        Ok(Measured {
            seconds,
            bytes,
            operations: all.count(),
            latency: all.finish(name, "call until its answer"),
            series: Series {
                name: name.to_owned(),
                samples: vec![sample],
            },
            process_percent: after.process_since(&before).total,
            cores,
        })
    }

    fn one(&self, call: Call, thread: usize) -> Result<Done, SourceError> {
        let mut walk = self.tree.open()?;
        let mut done = Done {
            recorder: Recorder::default(),
            bytes: 0,
        };
        let begun = clock::now();
        let mut at = thread * self.small.len() / THREADS_MAX as usize;
        while begun.elapsed() < self.time {
            if self.stop.load(Ordering::Relaxed) {
                return Err(SourceError::Stopped);
            }
            at = (at + 1) % self.small.len().max(1);
            let asked = clock::now();
            done.bytes += self.call(&mut *walk, call, at)?;
            done.recorder.record(asked.elapsed());
        }
        Ok(done)
    }

    fn call(&self, walk: &mut dyn Walk, call: Call, at: usize) -> Result<u64, SourceError> {
        let changed = |name: &str| {
            let why = "it changed while it was measured, or the share gave something else";
            SourceError::server(name, why)
        };
        match (call, self.small.get(at)) {
            (Call::List, _) => {
                let found = walk.list()?.len();
                match found >= self.small.len() {
                    true => Ok(0),
                    false => Err(changed("the folder")),
                }
            }
            (Call::Stat, Some(entry)) => match Some(walk.stat(&entry.name)?) == entry.bytes {
                true => Ok(0),
                false => Err(changed(&entry.name)),
            },
            (Call::Read, Some(entry)) => {
                let bytes = walk.read(&entry.name)?;
                match self.hashes.get(at) == Some(&blake3::hash(&bytes)) {
                    true => Ok(bytes.len() as u64),
                    false => Err(changed(&entry.name)),
                }
            }
            (Call::Stat | Call::Read, None) => Ok(0),
        }
    }
}
