//! What a disk gives through io_uring: buffered and direct, in order and at random, deeper and
//! deeper. The ceiling that a share on it can reach.
//!
//! Invariant: buffered figures are cold ones (the file is dropped from memory before each), or are
//! absent with a note that says why; direct ones go around memory. Not promised: writes. A disk's
//! own cache, and that of a virtual machine's host, answer as they like; both look like the disk.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use towline_base::clock;

use crate::content::{BLOCK_BYTES, Content, each_block};
use crate::share::Event;
use crate::share::own_files::write_large;
use crate::source::file::PathSource;
use crate::source::{Access, Cold, Source, SourceError};
use crate::workload::{self, Counts, Measured, Workload};
use towline_link::result::{Better, Evidence, Kind, Limit, Report, Unit, Verdict};

/// Percent of a core from which the reading thread is the limit, not the disk.
const CORE_FULL: f64 = 85.0;

/// What is measured.
#[derive(Clone, Debug)]
pub struct Options {
    /// A file, or a folder where one is written.
    pub path: PathBuf,
    /// Requests in flight, one after the other.
    pub depths: Vec<u32>,
    /// How long each way of reading takes, at most.
    pub time: Duration,
    /// Bytes of the file, at most.
    pub bytes: u64,
}

/// Blocks in bytes, whether in order, and their names.
const WAYS: [(u32, bool, &str); 3] = [
    (BLOCK_BYTES, true, "seq"),
    (4096, false, "rand_4k"),
    (64 << 10, false, "rand_64k"),
];

/// Measures.
///
/// # Errors
/// [`SourceError`].
pub fn run(
    options: &Options,
    stop: &AtomicBool,
    show: &mut dyn FnMut(Event<'_>),
) -> Result<Report, SourceError> {
    let name = options.path.display().to_string();
    let mut report = Report::new(Kind::Disk, name.clone(), clock::since_epoch().as_secs());
    let mut own = None;
    let (source, content) = if options.path.is_dir() {
        show(Event::Begins("writing a file to read"));
        let folder = tempfile::Builder::new()
            .prefix(".towline-bench-")
            .tempdir_in(&options.path);
        let folder = folder.map_err(|error| SourceError::system(name.clone(), error))?;
        let path = folder.path().join("large");
        let content = write_large(&path, options.bytes)?;
        own = Some(folder);
        (PathSource::new(&path, options.bytes)?, content)
    } else {
        show(Event::Begins("reading all of it once"));
        let length = std::fs::metadata(&options.path).map_or(0, |found| found.len());
        // Direct reads want whole pages: what is left behind the last one is left out.
        let pages = length.min(options.bytes) / 4096 * 4096;
        let source = PathSource::new(&options.path, pages)?;
        let mut content = Content::new(&name, "read", source.bytes());
        each_block(&source, &mut |offset, bytes| {
            content.learn(offset, bytes);
            Ok(())
        })?;
        (source, content)
    };
    if !towline_io::uring_works() {
        let note = "io_uring is not allowed here: one thread per request read instead (pread)";
        report.notes.push(note.to_owned());
    }
    let mut session = Session {
        report,
        best: None,
        source: &source,
        content: &content,
        options,
        stop,
        show,
    };
    session.all()?;
    drop(own);
    Ok(session.report)
}

struct Session<'a, 'b> {
    report: Report,
    /// The fastest sequential one: rate, name, percent of a core.
    best: Option<(f64, String, f64)>,
    source: &'a PathSource,
    content: &'a Content,
    options: &'a Options,
    stop: &'a AtomicBool,
    show: &'b mut dyn FnMut(Event<'_>),
}

impl Session<'_, '_> {
    fn all(&mut self) -> Result<(), SourceError> {
        for is_direct in [true, false] {
            let kind = if is_direct { "direct" } else { "buffered" };
            if !self.may(is_direct) {
                continue;
            }
            for (block_bytes, is_sequential, way) in WAYS {
                if self.source.bytes() < u64::from(block_bytes) {
                    continue;
                }
                for depth in self.options.depths.clone() {
                    let access = Access {
                        depth,
                        block_bytes,
                        is_sequential,
                        is_direct,
                    };
                    let name = format!("{kind}_{way}_depth_{depth}");
                    let measured = self.one(&name, access)?;
                    self.keep(&name, is_sequential, &measured);
                }
            }
        }
        (self.show)(Event::Begins("comparing every byte"));
        let bytes = self.content.verify(self.source)?;
        self.report
            .put("verified_bytes", bytes as f64, Unit::Count, Better::Higher);
        self.conclude()
    }

    /// Whether this kind of read is possible and means something; else a note.
    fn may(&mut self, is_direct: bool) -> bool {
        let why = match is_direct {
            true => {
                let access = Access {
                    depth: 1,
                    block_bytes: 4096,
                    is_sequential: true,
                    is_direct,
                };
                let mut tried = self.source.open(access);
                let read = tried.as_mut().map(|queue| {
                    queue
                        .submit(0, 0, 4096)
                        .and_then(|()| queue.wait(&mut |_, _| Ok(())))
                });
                match read {
                    Ok(Ok(())) => return true,
                    Ok(Err(error)) => format!("no direct figures: {error}"),
                    Err(error) => format!("no direct figures: {error}"),
                }
            }
            false => match self.source.cool() {
                Cold::Yes => return true,
                Cold::Stays(share) => format!(
                    "no buffered figures: {:.0} % of the file stays in memory when it is dropped, \
                     so they would be those of memory",
                    100.0 * share
                ),
                Cold::No(why) => format!("no buffered figures: {why}"),
            },
        };
        self.report.notes.push(why);
        false
    }

    fn one(&mut self, name: &str, access: Access) -> Result<Measured, SourceError> {
        let load = Workload {
            name: name.to_owned(),
            access,
            time: self.options.time,
            // What was read once is in memory then.
            is_once: !access.is_direct,
        };
        if !access.is_direct {
            self.source.cool();
        }
        (self.show)(Event::Begins(name));
        let measured = workload::run(self.source, &load, self.content, self.stop)?;
        (self.show)(Event::Ended(name, &measured));
        Ok(measured)
    }

    fn keep(&mut self, name: &str, is_sequential: bool, measured: &Measured) {
        let counts = match is_sequential {
            true => Counts::Bytes,
            false => Counts::Requests,
        };
        measured.put_into(&mut self.report, name, counts);
        let rate = measured.bits_per_second();
        if is_sequential && self.best.as_ref().is_none_or(|best| rate > best.0) {
            self.best = Some((rate, name.to_owned(), measured.process_percent));
        }
    }

    fn conclude(&mut self) -> Result<(), SourceError> {
        let Some((rate, name, percent)) = self.best.take() else {
            let why = format!("nothing can be measured: {}", self.report.notes.join("; "));
            return Err(SourceError::Usage(why));
        };
        self.report
            .put("disk", rate, Unit::BitsPerSecond, Better::Higher);
        self.report.put_first("disk");
        let shown = Unit::BitsPerSecond.show(rate);
        let (limit, cause, advice) = match percent >= CORE_FULL {
            true => (
                Limit::Cpu,
                format!("the reading thread used {percent:.0} % of a core for {shown} ({name})"),
                "the disk may give more to several readers",
            ),
            false => (
                Limit::Disk,
                format!("{shown} is what the disk gives ({name})"),
                "no share on this disk is faster, but from memory; compare with 'bench share'",
            ),
        };
        let evidence = |name: &str, says: String, value| Evidence {
            name: name.to_owned(),
            says,
            value,
        };
        self.report.verdict = Some(Verdict {
            limit,
            cause,
            advice: advice.to_owned(),
            evidence: vec![
                evidence("rate", format!("fastest sequential read: {shown}"), rate),
                evidence("process", format!("{percent:.0} % of a core"), percent),
            ],
        });
        Ok(())
    }
}
