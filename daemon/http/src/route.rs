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
use crate::server::Port;

/// Every face; the first that takes a path has it.
static FACES: [&dyn Face; 4] = [&S3, &Hub, &Registry, &Files];

/// The face that has a path, if one does.
pub(crate) fn face(port: Port, path: &[u8]) -> Option<&'static dyn Face> {
    FACES.iter().copied().find(|face| face.takes(port, path))
}

/// Answers a request by its face, or begins to; without one it is the control plane's.
pub(crate) fn answer(
    face: Option<&dyn Face>,
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
    match face {
        Some(face) => face.answer(exchange, asked, output),
        None => Flow::HandOff,
    }
}
