//! The back channel on one connection: bound by its calls, used by callbacks, ended with it
//! (RFC 8881 section 2.10.3.1).
//!
//! Invariant: a callback leaves behind the reply to the call that bound the connection, because
//! both go through the same worker in that order. A message that is no call is believed only on a
//! connection that was bound. Not promised: that a reply that comes too late is looked at.

use std::sync::Arc;

use towline_io::Output;

use super::callback;
use super::serve::Step;
use super::session::Session;
use crate::connection::{self, Connection, Done};

/// Most sessions whose callbacks use one connection, as a count: a client binds one, and two for
/// a moment when it makes a new one.
const SESSIONS_MAX: usize = 8;

impl Connection {
    /// Uses this connection for a session's callbacks from now on.
    pub(crate) fn bind_back(&mut self, session: Arc<Session>) {
        let (Some(line), Some(books)) = (self.line.clone(), self.server().books.clone()) else {
            return;
        };
        self.backs.retain(|other| !other.is_gone());
        let is_known = self.backs.iter().any(|other| other.id == session.id);
        if !is_known && self.backs.len() >= SESSIONS_MAX {
            return;
        }
        if books.bind(&session, line) && !is_known {
            self.backs.push(session);
        }
    }

    /// Whether callbacks may go over this connection.
    pub(crate) fn is_bound(&self) -> bool {
        self.backs.iter().any(|session| !session.is_gone())
    }

    /// Sends a callback.
    pub(crate) fn told_v4(&mut self, step: Step, output: &mut Output<Done>) {
        if let Step::Callback(bytes) = step
            && self.is_bound()
        {
            output.buffer().extend_from_slice(&bytes);
        }
    }

    /// Takes a message that is no call; whether it is one that may come here.
    pub(crate) fn replied_v4(&mut self, message: &[u8]) -> bool {
        let Some((xid, answer)) = callback::read(message) else {
            return false;
        };
        let Some(books) = self.server().books.clone() else {
            return false;
        };
        let mut clients: Vec<u64> = Vec::new();
        for session in &self.backs {
            if !clients.contains(&session.client.id) {
                clients.push(session.client.id);
                books.replied(&session.client, xid, answer);
            }
        }
        !clients.is_empty()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let (Some(line), Some(books)) = (&self.line, &self.shared.server.books) else {
            return;
        };
        for session in &self.backs {
            books.cut(session, line);
        }
    }
}

/// A callback for a connection.
pub(super) fn word(bytes: Vec<u8>) -> Done {
    Done(connection::Step::V4(Step::Callback(bytes)))
}
