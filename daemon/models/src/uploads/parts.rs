//! Files in parts: each part by a PUT of its own, then the word that all are here.
//!
//! Governed by the multipart transfer of the Hub: `upload.header` of a batch has `chunk_size` and
//! a place for each part, the answer to a part has an ETag, and the completion names all of them.
//! Invariant: a completion goes on when its client leaves, and one that comes twice is answered
//! twice; nothing is there for a commit before the whole hash fits. Not promised: that a client
//! leaves out parts that are here: those of huggingface_hub send all that a batch names.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Deserialize;
use towline_store::Sha256;

use super::receiving::{Held, PutFault};
use super::staging::{ArrivingPart, PARTS_MAX, Parted, Place, Plan, TURN_BYTES, Turn};
use super::{Expected, Inflow, Uploads};

/// Longest completion, in bytes: so many parts with a hash of 64 digits each, twice over.
pub(crate) const COMPLETION_BYTES_MAX: usize = 256 * PARTS_MAX as usize;

/// How often a completion begins to hash anew because parts were sent again meanwhile.
const TIMES_HASHED_MAX: u64 = 4;

/// How long a completion waits before it looks again, where another one hashes the same file.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// What a client says when it has sent every part.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Completion {
    oid: String,
    parts: Vec<Sent>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    #[serde(rename = "partNumber")]
    number: u32,
    etag: String,
}

/// The ETags of a completion, in the order of the parts.
fn etags(body: &[u8], (oid, plan): (&Sha256, &Plan)) -> Result<Vec<String>, String> {
    let completion: Completion = serde_json::from_slice(body)
        .map_err(|error| format!("the completion cannot be read: {error}"))?;
    if completion.oid.parse().as_ref() != Ok(oid) {
        return Err("the completion is of another file than its address".to_owned());
    }
    let mut etags = vec![None; plan.count() as usize];
    for Sent { number, etag } in completion.parts {
        let at = number.checked_sub(1).map(|at| at as usize);
        let Some(place) = at.and_then(|at| etags.get_mut(at)) else {
            return Err(format!(
                "the file has {} parts, and no part {number}",
                etags.len()
            ));
        };
        let etag = etag.trim_matches('"').to_owned();
        if place.replace(etag).is_some() {
            return Err(format!("the completion names part {number} twice"));
        }
    }
    let named = etags.into_iter().enumerate();
    let named = named.map(|(at, etag)| {
        etag.ok_or_else(|| format!("the completion does not name part {}", at + 1))
    });
    named.collect()
}

impl Uploads {
    /// How a file is cut for a client that can send parts; `None`: it comes whole.
    pub(crate) fn plan(&self, size: u64) -> Option<Plan> {
        Plan::of(size, self.bounds.part_bytes)
    }

    /// Takes the bytes of a part; its ETag.
    pub(super) async fn take_part(
        self: &Arc<Self>,
        (expected, plan, number): (&Expected, &Plan, u32),
        body: &mut Inflow,
    ) -> Result<String, PutFault> {
        let file = self.parted(expected, plan)?;
        let parted = file.clone();
        let begun = self.work(move || parted.begin(number));
        let mut held = Held::new(begun.await?);
        self.pour(&mut held, body).await?;
        let etag = self.finish(held, ArrivingPart::finish).await?;
        self.tally.parts.fetch_add(1, Ordering::Relaxed);
        let bytes = plan.length(number).unwrap_or(0);
        self.tally.bytes.fetch_add(bytes, Ordering::Relaxed);
        // Hashed while others come; whoever completes hashes what is left.
        let uploads = self.clone();
        tokio::spawn(async move {
            loop {
                let file = file.clone();
                let hashed = uploads.work(move || file.hash_next()).await;
                if !matches!(hashed, Ok(Turn::More)) {
                    return;
                }
            }
        });
        Ok(format!("\"{etag}\""))
    }

    fn parted(&self, expected: &Expected, plan: &Plan) -> Result<Arc<Parted>, PutFault> {
        let file = self.staging.parted(expected, plan);
        file.map_err(|error| PutFault::Busy(error.to_string()))
    }

    /// Makes a file of its parts.
    pub(crate) async fn complete(
        self: &Arc<Self>,
        place: &str,
        body: &[u8],
    ) -> Result<(), PutFault> {
        let Some(Place::Complete(expected, plan)) = self.staging.judge(place) else {
            return Err(PutFault::Place);
        };
        let etags = etags(body, (&expected.oid, &plan)).map_err(PutFault::Bytes)?;
        if self.is_whole(&expected) {
            // The answer to an earlier one was lost.
            return Ok(());
        }
        let file = self.parted(&expected, &plan)?;
        for (number, etag) in (1..).zip(&etags) {
            if !file.has(number, etag) {
                if self.is_whole(&expected) {
                    // The earlier one ended just now.
                    return Ok(());
                }
                return Err(PutFault::Bytes(format!(
                    "part {number} is not here as the completion names it: send it again"
                )));
            }
        }
        let (uploads, what) = (self.clone(), expected.clone());
        let joined = tokio::spawn(async move { uploads.join(what, plan, file, etags).await });
        let joined = joined.await;
        let joined = joined.unwrap_or_else(|error| Err(PutFault::Thread(error.to_string())));
        match joined {
            Err(_) if self.is_whole(&expected) => Ok(()),
            joined => joined,
        }
    }

    fn is_whole(&self, expected: &Expected) -> bool {
        let found = self.staging.find(&expected.holder, &expected.oid);
        found.is_some()
    }

    async fn join(
        self: Arc<Self>,
        expected: Expected,
        plan: Plan,
        file: Arc<Parted>,
        etags: Vec<String>,
    ) -> Result<(), PutFault> {
        let etags = Arc::new(etags);
        let mut left = TIMES_HASHED_MAX * (u64::from(plan.count()) + expected.size / TURN_BYTES);
        loop {
            let (file, named) = (file.clone(), etags.clone());
            match self.work(move || file.hash_named(&named)).await? {
                Turn::More if left > 0 => left -= 1,
                Turn::More => {
                    let why = "parts were sent again all the time: send them once, and complete";
                    return Err(PutFault::Bytes(why.to_owned()));
                }
                Turn::Done => break,
                // The thread is given back: others write meanwhile.
                Turn::Busy => tokio::time::sleep(BUSY_PAUSE).await,
            }
        }
        let bytes = expected.size;
        let uploads = self.clone();
        let settle = move || uploads.staging.settle((&expected, &plan), &file, &etags);
        self.work(settle).await?;
        tracing::debug!(volume = "models", bytes, "a file came in parts");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OID: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    fn read(parts: &str) -> Result<Vec<String>, String> {
        let oid = OID.parse().unwrap();
        let plan = Plan::of(5, 2).unwrap();
        let body = format!("{{\"oid\":\"{OID}\",\"parts\":[{parts}]}}");
        etags(body.as_bytes(), (&oid, &plan))
    }

    fn part(number: u32) -> String {
        format!("{{\"partNumber\":{number},\"etag\":\"\\\"e{number}\\\"\"}}")
    }

    #[test]
    fn every_part_is_named_once_in_any_order() {
        let all = |order: [u32; 3]| order.map(part).join(",");
        assert_eq!(read(&all([3, 1, 2])).unwrap(), ["e1", "e2", "e3"]);
        for (parts, words) in [
            (all([1, 2, 2]), "twice"),
            (all([1, 2, 4]), "no part 4"),
            (all([0, 1, 2]), "no part 0"),
            ([1, 3].map(part).join(","), "does not name part 2"),
            (String::new(), "does not name part 1"),
            ("7".to_owned(), "cannot be read"),
        ] {
            let why = read(&parts).unwrap_err();
            assert!(why.contains(words), "{parts}: {why}");
        }
        let (oid, plan) = ("0".repeat(64).parse().unwrap(), Plan::of(5, 2).unwrap());
        let body = format!("{{\"oid\":\"{OID}\",\"parts\":[]}}");
        assert!(
            etags(body.as_bytes(), (&oid, &plan))
                .unwrap_err()
                .contains("another file")
        );
    }
}
