//! The ledger: the second copy of the rows, written by difference.
//!
//! A file of frames. The first is all rows at one generation, each later one the edits that led to
//! the next durable generation. Behind each frame stands the BLAKE3 of the check before it and of
//! the frame, so none can be changed, left out or moved. When the differences outgrow the rows the
//! file is replaced as a whole. Invariant: what is read back is what was written up to some
//! generation; whoever reads compares that with the index, which is written first. Not promised:
//! the last generation after a crash; the index has it.

use std::sync::Arc;

use minicbor::{Decoder, Encoder};
use towline_io::backend::File;

use super::row::Written;
use super::{Books, Edit, Row};
use crate::disk::DiskAccess;
use crate::error::{Result, io};
use crate::layout;

const MAGIC: &[u8; 8] = b"TOWLEDG2";
const CHECK_BYTES: usize = 32;
const LENGTH_BYTES: usize = 4;

/// Differences are gathered up to this many bytes even where the rows take fewer.
const DIFFERENCES_BYTES_MIN: u64 = 64 << 10;

type Check = [u8; CHECK_BYTES];

/// What the ledger's file lacks, and where it goes on.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// `None`: the next time it is written as a whole.
    tail: Option<Tail>,
    /// Edits that may be lost in a crash, and go along with the next that may not.
    noted: Vec<Edit>,
}

#[derive(Debug)]
struct Tail {
    file: Arc<dyn File>,
    whole: u64,
    end: u64,
    check: Check,
}

impl Ledger {
    /// Remembers edits that are to be written with the next durable change.
    pub(crate) fn note(&mut self, edits: &[Edit]) {
        self.noted.extend_from_slice(edits);
    }

    /// The file is another than the one that was written last, or may be.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Writes what led to these books, durably.
    ///
    /// # Errors
    /// Those of the disk; the next time all is written again.
    pub(crate) fn write(&mut self, disk: &DiskAccess, books: &Books, edits: &[Edit]) -> Result<()> {
        let noted = std::mem::take(&mut self.noted);
        let tail = self.tail.take();
        let found = disk
            .backend
            .metadata(layout::LEDGER)
            .map(|found| found.length);
        // Somebody else may have changed it: then it is made good as a whole.
        let fits = |tail: &Tail| {
            found == Ok(tail.end) && tail.end - tail.whole <= tail.whole.max(DIFFERENCES_BYTES_MIN)
        };
        let tail = match tail.filter(fits) {
            Some(tail) => append(tail, books.generation, noted.iter().chain(edits))?,
            None => write_whole(disk, books)?,
        };
        self.tail = Some(tail);
        Ok(())
    }
}

fn append<'e>(
    mut tail: Tail,
    generation: u64,
    edits: impl Iterator<Item = &'e Edit>,
) -> Result<Tail> {
    let mut bytes = Vec::new();
    tail.check = frame(&mut bytes, &tail.check, generation, edits);
    let (file, path) = (&tail.file, layout::LEDGER);
    file.write_at(&bytes, tail.end).map_err(io("write", path))?;
    file.sync_data().map_err(io("sync", path))?;
    tail.end += bytes.len() as u64;
    Ok(tail)
}

fn write_whole(disk: &DiskAccess, books: &Books) -> Result<Tail> {
    let (bytes, check) = encode(books);
    let file = disk.write_whole(layout::LEDGER, &bytes)?;
    let whole = bytes.len() as u64;
    Ok(Tail {
        file,
        whole,
        end: whole,
        check,
    })
}

/// The bytes of a ledger of one frame, and its check.
pub(super) fn encode(books: &Books) -> (Vec<u8>, Check) {
    let mut bytes = MAGIC.to_vec();
    let rows: Vec<Edit> = books.rows().cloned().map(Edit::Put).collect();
    let check = frame(&mut bytes, &[0; CHECK_BYTES], books.generation, rows.iter());
    (bytes, check)
}

/// Adds a frame; the check behind it.
fn frame<'e>(
    bytes: &mut Vec<u8>,
    before: &Check,
    generation: u64,
    edits: impl Iterator<Item = &'e Edit>,
) -> Check {
    let edits: Vec<&Edit> = edits.collect();
    let mut body = Vec::new();
    let mut to = Encoder::new(&mut body);
    let written = (|| -> Written {
        to.array(2)?.u64(generation)?;
        to.array(edits.len() as u64)?;
        for edit in edits {
            let (is_put, row) = match edit {
                Edit::Put(row) => (true, row),
                Edit::Remove(row) => (false, row),
            };
            to.array(2)?.bool(is_put)?.bytes(&row.encode())?;
        }
        Ok(())
    })();
    debug_assert!(written.is_ok(), "a vector takes everything");
    let check = check_of(before, &body);
    bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&body);
    bytes.extend_from_slice(&check);
    check
}

fn check_of(before: &Check, body: &[u8]) -> Check {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before);
    hasher.update(&(body.len() as u32).to_le_bytes());
    *hasher.update(body).finalize().as_bytes()
}

/// Reads a ledger up to the last frame that is whole, and says whether that is all of it; `None` if
/// not even the first is, or if a frame before the last one is damaged.
pub(super) fn decode(bytes: &[u8]) -> Option<(Books, bool)> {
    let mut rest = bytes.strip_prefix(MAGIC)?;
    let mut books = Books::default();
    let mut check = [0; CHECK_BYTES];
    let mut frames = 0;
    while !rest.is_empty() {
        let Some((body, after)) = split(rest) else {
            // What a crash has left of the last frame.
            return (frames > 0).then_some((books, false));
        };
        let (found, after) = after.split_at_checked(CHECK_BYTES)?;
        check = check_of(&check, body);
        if check != found {
            return (frames > 0 && after.is_empty()).then_some((books, false));
        }
        apply(&mut books, body)?;
        (rest, frames) = (after, frames + 1);
    }
    (frames > 0).then_some((books, true))
}

/// The body of the first frame, and its check with all that follows.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
    let length = u32::from_le_bytes(*length) as usize;
    let (body, after) = rest.split_at_checked(length)?;
    (after.len() >= CHECK_BYTES).then_some((body, after))
}

fn apply(books: &mut Books, body: &[u8]) -> Option<()> {
    let mut from = Decoder::new(body);
    from.array().ok()??;
    books.generation = from.u64().ok()?;
    for _ in 0..from.array().ok()?? {
        from.array().ok()??;
        let is_put = from.bool().ok()?;
        let row = Row::decode(from.bytes().ok()?)?;
        books.apply(&if is_put {
            Edit::Put(row)
        } else {
            Edit::Remove(row)
        });
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    use towline_io::backend::sim::Sim;
    use towline_io::backend::{Backend, Open};

    use crate::name::FileId;

    fn unused(number: u8, time: u64) -> Row {
        let file = FileId([number; 32]);
        Row::Unused { file, time }
    }

    fn read(sim: &Sim) -> Vec<u8> {
        let file = sim.open(layout::LEDGER, Open::Read).unwrap();
        let mut bytes = vec![0; file.length().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        bytes
    }

    /// A disk, and a ledger of three changes on it with the books after each.
    fn written() -> (Sim, Ledger, Vec<Books>) {
        let sim = Sim::new();
        for directory in layout::DIRECTORIES {
            sim.make_directory(directory).unwrap();
        }
        let disk = DiskAccess::new(Arc::new(sim.clone()));
        let (mut ledger, mut books, mut all) = (Ledger::default(), Books::default(), Vec::new());
        for edits in [
            vec![Edit::Put(unused(1, 5)), Edit::Put(unused(2, 5))],
            vec![Edit::Put(unused(3, 6)), Edit::Remove(unused(1, 0))],
            vec![Edit::Put(unused(2, 9))],
        ] {
            // What is noted in between comes with the next change.
            let noted = Edit::Put(unused(4, books.generation));
            ledger.note(std::slice::from_ref(&noted));
            books.apply(&noted);
            books.generation += 1;
            edits.iter().for_each(|edit| books.apply(edit));
            ledger.write(&disk, &books, &edits).unwrap();
            all.push(books.clone());
        }
        (sim, ledger, all)
    }

    #[test]
    fn what_was_written_by_difference_is_read_as_a_whole() {
        let (sim, _, all) = written();
        assert_eq!(
            decode(&read(&sim)),
            all.last().map(|books| (books.clone(), true))
        );
    }

    #[test]
    fn what_a_crash_leaves_is_an_earlier_generation_and_damage_is_never_taken_for_rows() {
        let (sim, _, all) = written();
        let mut bytes = read(&sim);
        let known = |(books, _): &(Books, bool)| all.contains(books);
        let whole = all.last().map(|books| (books.clone(), true));
        for end in 0..bytes.len() {
            let torn = decode(&bytes[..end]);
            assert!(torn.as_ref().is_none_or(known), "cut at {end}");
            let mut bad = bytes.clone();
            bad[end] ^= 0x10;
            let read = decode(&bad);
            assert!(read.as_ref().is_none_or(known), "changed at {end}");
            assert_ne!(read, whole, "changed at {end} unnoticed");
        }
        bytes.push(0);
        assert_ne!(decode(&bytes), whole, "longer unnoticed");
    }

    #[test]
    fn a_file_that_somebody_else_changed_is_written_as_a_whole() {
        let (sim, mut ledger, all) = written();
        let disk = DiskAccess::new(Arc::new(sim.clone()));
        sim.remove_file(layout::LEDGER).unwrap();
        let mut books = all.last().unwrap().clone();
        books.generation += 1;
        ledger.write(&disk, &books, &[]).unwrap();
        assert_eq!(decode(&read(&sim)), Some((books, true)));
    }

    #[test]
    fn differences_do_not_outgrow_the_rows() {
        let (sim, mut ledger, all) = written();
        let disk = DiskAccess::new(Arc::new(sim.clone()));
        let mut books = all.last().unwrap().clone();
        for time in 0..2_000 {
            let edit = Edit::Put(unused(9, time));
            books.apply(&edit);
            books.generation += 1;
            ledger.write(&disk, &books, &[edit]).unwrap();
            let length = sim.metadata(layout::LEDGER).unwrap().length;
            assert!(length <= 2 * DIFFERENCES_BYTES_MIN, "{length} bytes");
        }
        assert_eq!(decode(&read(&sim)), Some((books, true)));
    }
}
