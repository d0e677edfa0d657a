//! kill -9 at random moments while four clients write, and a log of what was acknowledged.
//!
//! Governed by the promise "acked means durable" (`daemon/THREATS.md`) as far as a process
//! can show it: the page cache outlives the process, so this proves that nothing acknowledged was
//! still in the node's own memory, half done, or under a lost verifier. Invariant: a slot counts
//! as acknowledged only when its last write was, by FILE_SYNC or by a COMMIT with the same
//! verifier. Not promised: anything about power loss.
#![allow(
    clippy::print_stdout,
    reason = "a test tells how to replay it and what it saw"
)]

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use towline_bench::rpc::Reader;
use towline_loads::http_load::Random;
use towline_loads::nfs_session::{Endpoint, lookup, mount};
use towline_tests::content;
use towline_tests::node::Node;
use towline_tests::wire::{Arguments, USER, Wire};

/// Kills in CI; the soak has more.
const KILLS: usize = 200;
const KILLS_SOAK: usize = 20_000;
const WRITERS: usize = 4;
/// Slots of a writer's file: few enough that they are written over again and again.
const SLOTS: usize = 48;
/// Longest slot in bytes; a write fills its slot to a random length.
const SLOT_BYTES: u64 = 96 * 1024;
/// Longest time between a restart and the next kill.
const LIFE_MAX: Duration = Duration::from_millis(300);
/// Longest restart.
const RESTART_LIMIT: Duration = Duration::from_secs(2);

/// What is known of a slot: the seed of its content and its length, or nothing.
#[derive(Clone, Copy, Debug)]
enum Slot {
    Acknowledged { seed: u64, length: usize },
    Unknown,
}

struct Writer {
    index: u64,
    slots: Vec<Slot>,
    writes: u64,
    acknowledged: u64,
    /// Names made (true) or removed (false) with an acknowledgement.
    names: Vec<(String, bool)>,
    random: Random,
    verifier: Option<[u8; 8]>,
}

impl Writer {
    fn file(&self) -> String {
        format!("writer-{}", self.index)
    }

    /// Writes until the connection ends, which it does when the node is killed.
    fn work(&mut self, endpoint: Endpoint) -> Result<()> {
        self.verifier = None;
        let Ok(root) = mount(endpoint, "/projects", USER) else {
            return Ok(());
        };
        let Ok(file) = lookup(endpoint, &root, &self.file(), USER) else {
            return Ok(());
        };
        let Ok(mut wire) = Wire::connect(endpoint.nfs) else {
            return Ok(());
        };
        loop {
            let goes_on = match self.random.below(4) {
                0 => self.names(&mut wire, &root)?,
                1 => self.stable(&mut wire, &file)?,
                _ => self.unstable(&mut wire, &file)?,
            };
            if !goes_on {
                return Ok(());
            }
        }
    }

    /// One FILE_SYNC write. False when the node is gone.
    fn stable(&mut self, wire: &mut Wire, file: &[u8]) -> Result<bool> {
        let Some((slot, state, _)) = self.write(wire, file, 2)? else {
            return Ok(false);
        };
        self.slots[slot] = state;
        self.acknowledged += 1;
        Ok(true)
    }

    /// A few UNSTABLE writes and a COMMIT. False when the node is gone.
    fn unstable(&mut self, wire: &mut Wire, file: &[u8]) -> Result<bool> {
        let mut waiting = Vec::new();
        for _write in 0..1 + self.random.below(4) {
            let Some(written) = self.write(wire, file, 0)? else {
                return Ok(false);
            };
            waiting.push(written);
        }
        let commit = Arguments::new().opaque(file).long(0).number(0).bytes();
        let Ok((status, reply)) = wire.nfs(21, &commit) else {
            return Ok(false);
        };
        ensure!(status == 0, "COMMIT: status {status}");
        let verifier: [u8; 8] = reply
            .last_chunk()
            .copied()
            .context("COMMIT without verifier")?;
        for (slot, state, written_under) in waiting {
            if written_under == verifier {
                self.slots[slot] = state;
                self.acknowledged += 1;
            }
        }
        Ok(true)
    }

    /// One WRITE; the slot is unknown from the moment it is sent. `None` when the node is gone.
    fn write(
        &mut self,
        wire: &mut Wire,
        file: &[u8],
        stable: u32,
    ) -> Result<Option<(usize, Slot, [u8; 8])>> {
        let slot = self.random.below(SLOTS as u64) as usize;
        self.writes += 1;
        let seed = self.index << 20 | self.writes;
        let length = 1 + self.random.below(SLOT_BYTES - 1) as usize;
        let offset = slot as u64 * SLOT_BYTES;
        self.slots[slot] = Slot::Unknown;
        let arguments = Arguments::new()
            .opaque(file)
            .long(offset)
            .number(u32::try_from(length)?)
            .number(stable)
            .opaque(&content::bytes(seed, offset, length));
        let Ok((status, reply)) = wire.nfs(7, &arguments.bytes()) else {
            return Ok(None);
        };
        ensure!(status == 0, "WRITE: status {status}");
        let verifier: [u8; 8] = reply
            .last_chunk()
            .copied()
            .context("WRITE without verifier")?;
        let before = self.verifier.replace(verifier);
        ensure!(
            before.is_none_or(|old| old == verifier),
            "the verifier changed in one life"
        );
        let tail = reply
            .get(reply.len().saturating_sub(16)..)
            .context("short WRITE reply")?;
        let mut tail = Reader(tail);
        let (count, committed) = (tail.number()?, tail.number()?);
        ensure!(count as usize == length, "short write: {count} of {length}");
        ensure!(committed >= stable, "less stable than asked for");
        Ok(Some((slot, Slot::Acknowledged { seed, length }, verifier)))
    }

    /// CREATE, or REMOVE of a name made before. False when the node is gone.
    fn names(&mut self, wire: &mut Wire, root: &[u8]) -> Result<bool> {
        self.writes += 1;
        let made = self.names.iter().position(|(_, there)| *there);
        if let Some(index) = made.filter(|_| self.random.below(2) == 0) {
            let (name, _) = self.names.swap_remove(index);
            let remove = Arguments::new()
                .opaque(root)
                .opaque(name.as_bytes())
                .bytes();
            let Ok((status, _)) = wire.nfs(12, &remove) else {
                return Ok(false);
            };
            ensure!(status == 0, "REMOVE of {name}: status {status}");
            self.names.push((name, false));
            return Ok(true);
        }
        let name = format!("made-{}-{}", self.index, self.writes);
        let create = Arguments::new()
            .opaque(root)
            .opaque(name.as_bytes())
            .number(1);
        let create = (0..6).fold(create, |create, _| create.number(0)).bytes();
        let Ok((status, _)) = wire.nfs(8, &create) else {
            return Ok(false);
        };
        ensure!(status == 0, "CREATE of {name}: status {status}");
        self.names.push((name, true));
        Ok(true)
    }

    fn judge(&mut self, node: &Node) -> Result<()> {
        let directory = node.volume("projects");
        let body = fs::read(directory.join(self.file()))?;
        for (index, slot) in self.slots.iter().enumerate() {
            let Slot::Acknowledged { seed, length } = *slot else {
                continue;
            };
            let start = index * SLOT_BYTES as usize;
            let piece = body.get(start..start + length);
            let piece = piece.with_context(|| format!("slot {index} is beyond the end"))?;
            content::judge(seed, start as u64, piece)
                .with_context(|| format!("{} slot {index}: lost or torn", self.file()))?;
        }
        for (name, there) in &self.names {
            let found = directory.join(name).exists();
            ensure!(
                found == *there,
                "{name}: there {found}, acknowledged {there}"
            );
        }
        self.names.retain(|(_, there)| *there);
        Ok(())
    }
}

#[test]
fn acked_means_durable() -> Result<()> {
    let seed = std::env::var("TOWLINE_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1);
    println!("replay: TOWLINE_SEED={seed} cargo test -p towline-tests --test crash");
    let soak = std::env::var_os("TOWLINE_SOAK").is_some();
    let kills = if soak { KILLS_SOAK } else { KILLS };
    let mut node = Node::start()?;
    let mut random = Random::new(seed);
    let mut writers: Vec<Writer> = (0..WRITERS as u64)
        .map(|index| writer(index, seed))
        .collect();
    for writer in &writers {
        let path = node.volume("projects").join(writer.file());
        fs::write(&path, "")?;
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
    }
    let mut slowest = Duration::ZERO;
    let mut verifiers = Vec::new();
    for kill in 0..kills {
        let endpoint = Endpoint {
            nfs: node.nfs(),
            mount: node.nfs(),
        };
        let life = Duration::from_micros(random.below(LIFE_MAX.as_micros() as u64));
        std::thread::scope(|scope| -> Result<()> {
            let work: Vec<_> = writers
                .iter_mut()
                .map(|writer| scope.spawn(|| writer.work(endpoint)))
                .collect();
            std::thread::sleep(life);
            node.kill();
            for work in work {
                work.join()
                    .map_err(|_| anyhow::anyhow!("writer panicked"))??;
            }
            Ok(())
        })
        .with_context(|| format!("life {kill}"))?;
        for writer in &mut writers {
            writer
                .judge(&node)
                .with_context(|| format!("after kill {kill}"))?;
        }
        verifiers.extend(writers.iter().find_map(|writer| writer.verifier));
        let started = Instant::now();
        node.restart()?;
        slowest = slowest.max(started.elapsed());
    }
    ensure!(slowest <= RESTART_LIMIT, "a restart took {slowest:?}");
    let acknowledged: u64 = writers.iter().map(|writer| writer.acknowledged).sum();
    let lives = verifiers.len();
    verifiers.dedup();
    ensure!(
        verifiers.len() == lives,
        "two lives had the same write verifier"
    );
    println!("{kills} kills, {acknowledged} acknowledged writes, slowest restart {slowest:?}");
    ensure!(
        acknowledged > kills as u64 * 4,
        "only {acknowledged} writes: nothing was tested"
    );
    Ok(())
}

fn writer(index: u64, seed: u64) -> Writer {
    Writer {
        index,
        slots: vec![Slot::Unknown; SLOTS],
        writes: 0,
        acknowledged: 0,
        names: Vec::new(),
        random: Random::new(seed * 100 + index + 1),
        verifier: None,
    }
}
