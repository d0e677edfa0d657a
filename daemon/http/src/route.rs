//! Which face answers a request.
//!
//! Invariant: whatever face it is for, a request has passed the door first: the node's name and
//! the page that sent it are judged once, here. What no face takes is the control plane's.

use towline_io::Output;

use crate::done::Done;
use crate::doors::Visit;
use crate::exchange::{Exchange, Flow};
use crate::faces::files::Files;
use crate::faces::hub::Hub;
use crate::faces::registry::Registry;
use crate::faces::s3::S3;
use crate::faces::{Asked, Face};
use crate::head::Head;
use crate::server::Port;

/// Every face; the first that takes a path has it.
static FACES: [&dyn Face; 4] = [&S3, &Hub, &Registry, &Files];

fn face(port: Port, path: &[u8]) -> Option<&'static dyn Face> {
    FACES.iter().copied().find(|face| face.takes(port, path))
}

/// Bytes of body that must be here before the request can be answered.
pub(crate) fn body_needed(port: Port, head: &Head<'_>) -> Option<u64> {
    face(port, head.path)?.body_needed(port, head)
}

/// Answers a request, or begins to.
pub(crate) fn answer(
    exchange: &mut Exchange,
    mut asked: Asked<'_, '_>,
    output: &mut Output<Done>,
) -> Flow {
    let tone = &mut asked.tone;
    tone.is_s3 = exchange.port == Port::S3;
    match exchange.server.doors().judge(asked.head) {
        Ok(Visit::Own) => {}
        Ok(Visit::Page(origin)) => tone.page = Some(origin),
        Ok(Visit::Preflight(origin)) => {
            tone.page = Some(origin);
            exchange.reply_preflight(*tone, output);
            return Flow::Replied;
        }
        Err(refusal) => return exchange.refuse(&refusal, *tone, output),
    }
    match face(exchange.port, asked.head.path) {
        Some(face) => face.answer(exchange, asked, output),
        None => Flow::HandOff,
    }
}
