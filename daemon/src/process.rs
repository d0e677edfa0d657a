//! What the node asks of its process: descriptors, file modes, and who it is.
//!
//! Invariant: the umask is 0 from the start, because a client's mode is to be the file's mode
//! (the client applies its own umask); files of the node itself name their modes.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors below which a node says that it may run out: 16 workers with 2,048 open nodes of
/// up to three descriptors each stay far below with ordinary use, two busy ones do not.
const DESCRIPTORS_WANTED: u64 = 16_384;

/// Prepares the process. Returns notes for the operator.
pub(crate) fn prepare() -> Vec<String> {
    rustix::process::umask(rustix::fs::Mode::empty());
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let mut notes = Vec::new();
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        notes.push(format!(
            "the limit of open files stays at {:?}: {error}",
            limit.current
        ));
    }
    if let Some(maximum) = limit
        .maximum
        .filter(|maximum| *maximum < DESCRIPTORS_WANTED)
    {
        notes.push(format!(
            "only {maximum} files may be open at a time; raise it with \
             'ulimit -Hn {DESCRIPTORS_WANTED}' or LimitNOFILE= in the systemd unit"
        ));
    }
    notes
}

/// Whether root runs this process and may act as its callers.
pub(crate) fn acts_as_callers() -> bool {
    towline_sys::identity::can_switch()
}

/// What an operator should know of whom clients act as.
pub(crate) fn identity_note() -> Option<String> {
    if acts_as_callers() {
        return None;
    }
    let uid = rustix::process::geteuid().as_raw();
    Some(format!(
        "an ordinary user (uid {uid}) runs this node: every client acts as that user"
    ))
}
