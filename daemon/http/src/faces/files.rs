//! `/files/`: files and folders of volumes, read and changed (RFC 9110).
//!
//! Invariant: a path stays in its volume, and a volume that the address may not reach looks like
//! one that does not exist. Not promised: parents made on the way of an upload.

mod change;
pub mod entries;
pub(crate) mod get;
mod index;
pub mod listing;
mod listing_json;
mod order;
mod page;
mod send;
mod upload;

use towline_io::Output;

use super::{Asked, Face};
use crate::done::Done;
use crate::exchange::{Exchange, Flow, METHODS, Request};
use crate::head::Method;
use crate::path::PREFIX;
use crate::server::Port;
use crate::status::{Extra, Refusal, Status};

/// The face.
pub(crate) struct Files;

impl Face for Files {
    fn takes(&self, port: Port, path: &[u8]) -> bool {
        let is_bare = PREFIX.strip_suffix(b"/") == Some(path);
        port == Port::Http && (is_bare || path.starts_with(PREFIX))
    }

    fn answer(
        &self,
        exchange: &mut Exchange,
        asked: Asked<'_, '_>,
        output: &mut Output<Done>,
    ) -> Flow {
        let Asked {
            head, tone, done, ..
        } = asked;
        let Some(below) = head.path.strip_prefix(PREFIX) else {
            return exchange.redirect(PREFIX, tone, output);
        };
        let request = Request {
            head,
            below,
            tone,
            dress: None,
        };
        match head.method {
            Method::Get | Method::Head => get::answer(exchange, &request, done, output),
            Method::Put | Method::Delete | Method::Mkcol => {
                change::answer(exchange, &request, done, output)
            }
            Method::Options => {
                exchange.reply_options(tone, output);
                Flow::Replied
            }
            Method::Post | Method::Other => {
                let refusal = Refusal::new(
                    Status::NOT_ALLOWED,
                    "files know GET, HEAD, PUT, DELETE and MKCOL; use one of them",
                );
                exchange.refuse(&refusal.with(Extra::Allow(METHODS)), tone, output)
            }
        }
    }
}
