//! A value that was read, or why it could not be.
//!
//! Invariant: what could not be read never counts as passed. A missing permission becomes `skip`
//! with the name of the capability; everything else becomes `unknown`. In fact sheets a reading is
//! either the bare value or `{ missing = { unsupported = "..." } }`.

use std::io;

use serde::{Deserialize, Serialize};

use crate::verdict::State;

/// Why a value could not be read.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// Nobody asked for it.
    #[default]
    Unread,
    /// The kernel wants a capability that this process lacks; the text names it.
    Permission(String),
    /// The driver or the kernel does not report it.
    Unsupported(String),
    /// There is no such thing on this host.
    Absent(String),
}

impl Missing {
    /// Sorts an error of a system call; `what` names what was read, `capability` what would help.
    #[must_use]
    pub fn of_error(error: &io::Error, what: &str, capability: &str) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::Permission(capability.to_owned()),
            io::ErrorKind::NotFound => Self::Absent(format!("no {what}")),
            _ => Self::Unsupported(format!("{what}: {error}")),
        }
    }

    /// The state of a check that needed the value.
    #[must_use]
    pub fn state(&self) -> State {
        match self {
            Self::Unread => State::Unknown("not read".to_owned()),
            Self::Permission(capability) => {
                State::Skip(format!("no permission: needs {capability}"))
            }
            Self::Unsupported(why) | Self::Absent(why) => State::Unknown(why.clone()),
        }
    }
}

/// A value or why there is none.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Reading<T> {
    /// Not read. First, so that a table with `missing` is never taken for a value.
    Missing {
        /// The reason.
        missing: Missing,
    },
    /// What was read.
    Value(T),
}

impl<T> Default for Reading<T> {
    fn default() -> Self {
        Self::missing(Missing::Unread)
    }
}

impl<T> Reading<T> {
    /// Nothing, with the reason.
    pub const fn missing(missing: Missing) -> Self {
        Self::Missing { missing }
    }

    /// The result of a read: `what` names the value, `capability` what a refused caller lacks.
    pub fn from_result(result: io::Result<T>, what: &str, capability: &str) -> Self {
        match result {
            Ok(value) => Self::Value(value),
            Err(error) => Self::missing(Missing::of_error(&error, what, capability)),
        }
    }

    /// A value that may be there; `why` says what its absence means.
    pub fn from_option(value: Option<T>, why: &str) -> Self {
        value.map_or_else(
            || Self::missing(Missing::Unsupported(why.to_owned())),
            Self::Value,
        )
    }

    /// The value, if it was read.
    pub const fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Missing { .. } => None,
        }
    }

    /// The value, or the state of the check that needs it.
    ///
    /// # Errors
    /// `skip` for a missing permission, else `unknown`.
    pub fn need(&self) -> Result<&T, State> {
        match self {
            Self::Value(value) => Ok(value),
            Self::Missing { missing } => Err(missing.state()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_never_a_value() {
        let read: Reading<String> =
            serde_json::from_str(r#"{"missing":{"permission":"CAP_NET_ADMIN"}}"#).unwrap();
        assert_eq!(
            read.need(),
            Err(State::Skip("no permission: needs CAP_NET_ADMIN".into()))
        );
        assert!(matches!(
            Reading::<u32>::default().need(),
            Err(State::Unknown(_))
        ));
    }
}
