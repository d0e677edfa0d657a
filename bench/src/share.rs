//! How fast a share is as its clients read it: large files, random blocks, small files, names.
//!
//! Where the share may be written to, files of its own are made and removed again, and contents
//! are compared with what was written; else those that are there are read twice and must not
//! differ. Invariant: what could not be measured is a note, never a zero. Not promised: the speed
//! of a server's disk, where its memory answers; the notes say so.

mod names;
pub(crate) mod own_files;
mod subject;
pub mod verdict;

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use towline_base::clock;

use crate::content::{BLOCK_BYTES, Content, each_block};
use crate::source::{Access, Cold, Place, Source, SourceError};
use crate::workload::{self, Counts, Measured, Workload};
use subject::Subject;
use towline_link::goals;
use towline_link::link::surroundings::Surroundings;
use towline_link::link::{Way, probe};
use towline_link::result::{Better, Kind, Report, Unit};
use verdict::Facts;

/// Blocks of random reads in bytes, with the words of their names.
const RANDOM: [(u32, &str); 3] = [(4 << 10, "4k"), (64 << 10, "64k"), (1 << 20, "1m")];

/// What is measured.
#[derive(Clone, Debug)]
pub struct Options {
    /// Path or URL as it was named.
    pub name: String,
    /// The same, read.
    pub place: Place,
    /// Requests in flight, each 1 to 32 or more; the last is that of the verdict.
    pub depths: Vec<u32>,
    /// How long each way of reading takes, at most.
    pub time: Duration,
    /// Bytes of the large file, at most.
    pub bytes: u64,
    /// Small files that are made, as a count.
    pub files: u32,
    /// Bytes of each of them.
    pub file_bytes: u32,
    /// Nothing is written, even where it could be.
    pub is_read_only: bool,
}

/// What is told while it runs.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// Something begins.
    Begins(&'a str),
    /// One way of reading has ended.
    Ended(&'a str, &'a Measured),
}

/// Measures.
///
/// # Errors
/// [`SourceError`].
pub fn run(
    options: &Options,
    stop: &AtomicBool,
    show: &mut dyn FnMut(Event<'_>),
) -> Result<Report, SourceError> {
    let mut session = Session {
        report: Report::new(
            Kind::Share,
            options.name.clone(),
            clock::since_epoch().as_secs(),
        ),
        facts: Facts::default(),
        options,
        stop,
        show,
    };
    session.note_options();
    let subject = Subject::open(options, &mut session.report.notes, session.show)?;
    session.large_file(&subject)?;
    session.small_files(&subject)?;
    session.conclude(&*subject.source, &subject.content)?;
    Ok(session.report)
}

struct Session<'a, 'b> {
    report: Report,
    facts: Facts,
    options: &'a Options,
    stop: &'a AtomicBool,
    show: &'b mut dyn FnMut(Event<'_>),
}

impl Session<'_, '_> {
    fn note_options(&mut self) {
        let depths: Vec<String> = self.options.depths.iter().map(u32::to_string).collect();
        let pairs = [
            ("depths", depths.join(",")),
            ("time_s", self.options.time.as_secs_f64().to_string()),
            ("bytes", self.options.bytes.to_string()),
        ];
        for (name, value) in pairs {
            self.report.options.insert(name.to_owned(), value);
        }
    }

    fn one(
        &mut self,
        subject: &Subject,
        (name, figure, counts): (&str, &str, Counts),
        access: Access,
        is_once: bool,
    ) -> Result<Measured, SourceError> {
        let load = Workload {
            name: name.to_owned(),
            access,
            time: self.options.time,
            is_once,
        };
        (self.show)(Event::Begins(name));
        let measured = workload::run(&*subject.source, &load, &subject.content, self.stop)?;
        (self.show)(Event::Ended(name, &measured));
        measured.put_into(&mut self.report, figure, counts);
        Ok(measured)
    }

    fn large_file(&mut self, subject: &Subject) -> Result<(), SourceError> {
        let source = &*subject.source;
        let block = |bytes: u32| bytes.min(source.block_bytes_max());
        let access = |depth, bytes, is_sequential| Access {
            depth,
            block_bytes: block(bytes),
            is_sequential,
            is_direct: false,
        };
        if let Some(first) = subject.first_read {
            let rate = subject.content_bytes() as f64 * 8.0 / first.as_secs_f64();
            self.report
                .put("seq_first", rate, Unit::BitsPerSecond, Better::Higher);
            self.facts.first_rate = Some(rate);
        }
        if self.may_be_cold(source) {
            let way = ("cold sequential", "seq_cold", Counts::Bytes);
            let measured = self.one(subject, way, access(4, BLOCK_BYTES, true), true)?;
            self.facts.cold_rate = Some(measured.bits_per_second());
            source.cool();
            let way = ("cold random 4k, depth 1", "rand_4k_cold", Counts::Requests);
            let measured = self.one(subject, way, access(1, 4096, false), true)?;
            self.facts.cold_4k_s = measured.latency.map(|latency| latency.p50_s);
            // What comes next is warm again.
            each_block(source, &mut |_, _| Ok(()))?;
        }
        let last = self.options.depths.len().saturating_sub(1);
        for (index, depth) in self.options.depths.clone().into_iter().enumerate() {
            let access = access(depth, BLOCK_BYTES, true);
            let name = format!("sequential, depth {depth}");
            if index == last {
                self.judged(subject, &name, access)?;
            } else {
                let figure = format!("seq_depth_{depth}");
                self.one(subject, (&name, &figure, Counts::Bytes), access, false)?;
            }
            self.random(subject, depth)?;
        }
        Ok(())
    }

    /// The sequential read that the verdict is on, with what happens around it.
    fn judged(&mut self, subject: &Subject, name: &str, access: Access) -> Result<(), SourceError> {
        let peer = subject.source.peer().map(|peer| peer.ip());
        self.facts.idle = peer.and_then(|peer| probe::idle(peer, &Way::default()));
        let around = peer.map(Surroundings::begin);
        let loaded = peer.and_then(|peer| probe::Loaded::begin(peer, &Way::default()));
        let measured = self.one(subject, (name, "share", Counts::Bytes), access, false)?;
        self.facts.loaded = loaded.and_then(probe::Loaded::end);
        self.facts.card = around.and_then(|mut around| around.end().0);
        let six = peer.is_some_and(|peer| peer.is_ipv6());
        self.report.card_goal = goals::of_cards("share", self.facts.card.iter(), six);
        self.facts.rate = measured.bits_per_second();
        self.facts.process_percent = measured.process_percent;
        self.facts.depth = access.depth;
        self.facts.block_s = measured.latency.as_ref().map(|latency| latency.p50_s);
        Ok(())
    }

    fn random(&mut self, subject: &Subject, depth: u32) -> Result<(), SourceError> {
        let source = &*subject.source;
        for (bytes, word) in RANDOM {
            if source.block_bytes_max() < bytes || source.bytes() < u64::from(bytes) {
                self.report
                    .notes
                    .push(format!("no random {word}: too large for this share"));
                continue;
            }
            let access = Access {
                depth,
                block_bytes: bytes,
                is_sequential: false,
                is_direct: false,
            };
            let name = format!("random {word}, depth {depth}");
            let figure = format!("rand_{word}_depth_{depth}");
            let way = (name.as_str(), figure.as_str(), Counts::Requests);
            let measured = self.one(subject, way, access, false)?;
            if bytes == 4096 && self.facts.read_4k_s.is_none() {
                self.facts.read_4k_s = measured.latency.map(|latency| latency.p50_s);
                self.facts.read_4k_depth = depth;
            }
        }
        Ok(())
    }

    fn may_be_cold(&mut self, source: &dyn Source) -> bool {
        match source.cool() {
            Cold::Yes => {
                self.report.notes.push(
                    "cold: this host's memory was emptied of the file; where a server is behind \
                     the path its own memory may still answer"
                        .to_owned(),
                );
                true
            }
            Cold::Stays(share) => {
                self.report.notes.push(format!(
                    "no cold figures: {:.0} % of the file stays in memory when it is dropped (a \
                     file system in memory, or the file is mapped or locked)",
                    100.0 * share
                ));
                false
            }
            Cold::No(why) => {
                self.report.notes.push(format!("no cold figures: {why}"));
                false
            }
        }
    }

    fn small_files(&mut self, subject: &Subject) -> Result<(), SourceError> {
        let Some(tree) = &subject.tree else {
            let note = "no names and small files: name a folder instead of one file";
            self.report.notes.push(note.to_owned());
            return Ok(());
        };
        let depth = self.options.depths.iter().copied().max().unwrap_or(1);
        let threads = depth.min(names::THREADS_MAX);
        (self.show)(Event::Begins("names and small files"));
        let found = names::measure(
            &**tree,
            &subject.small,
            threads,
            self.options.time,
            self.stop,
        )?;
        for (name, measured) in found {
            (self.show)(Event::Ended(&name, &measured));
            measured.put_into(&mut self.report, &name, Counts::Requests);
            if name == "stat" {
                self.facts.stat_s = measured.latency.as_ref().map(|latency| latency.p50_s);
            }
        }
        if subject.small.is_empty() {
            let note = "no small files: none of up to 1 MiB is in the folder, and none was written";
            self.report.notes.push(note.to_owned());
        }
        Ok(())
    }

    fn conclude(&mut self, source: &dyn Source, content: &Content) -> Result<(), SourceError> {
        (self.show)(Event::Begins("comparing every byte"));
        let bytes = content.verify(source)?;
        self.report
            .put("verified_bytes", bytes as f64, Unit::Count, Better::Higher);
        let facts = &self.facts;
        for (name, latency) in [("rtt", &facts.idle), ("rtt_loaded", &facts.loaded)] {
            if let Some(latency) = latency {
                self.report.put_latency(name, latency.clone());
            }
        }
        self.facts.is_local = source.peer().is_none();
        self.report.verdict = Some(verdict::of(&self.facts));
        self.report.put_first("share");
        Ok(())
    }
}
