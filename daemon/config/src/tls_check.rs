//! The rules for `[tls]`: pairs of files that are there, and a port.
//!
//! Invariant: a certificate never stands without its key. Not promised: that the files hold what
//! they should; the node says so when it starts.

use toml::Spanned;

use crate::check::port;
use crate::checker::Checker;
use crate::effective::{Setting, TLS_PORT_DEFAULT, Tls, TlsPair};
use crate::file::{self, At};

/// Most pairs beside the first: one for each name that a machine may reasonably have.
const PAIRS_MAX: usize = 64;

/// A pair as it is written, once it has been judged.
type Pair = (Setting<std::path::PathBuf>, Setting<std::path::PathBuf>);

/// `[tls]`.
pub(crate) fn tls(check: &mut Checker<'_>, file: &At<file::Tls>) -> Option<Tls> {
    let table = file.as_ref()?;
    let (start, own) = (table.span().start, table.get_ref());
    let more = more(check, own.more.as_deref().unwrap_or(&[]));
    let (certificate, key) = pair(check, start, "tls", (&own.certificate, &own.key))?;
    Some(Tls {
        certificate,
        key,
        port: port(check, &own.port, "tls.port", TLS_PORT_DEFAULT),
        more,
    })
}

fn more(check: &mut Checker<'_>, tables: &[Spanned<file::TlsPair>]) -> Vec<TlsPair> {
    if let Some(last) = tables.get(PAIRS_MAX) {
        let what = format!("there are more than {PAIRS_MAX} further certificates");
        let instead = "put several names into one certificate";
        check.refuse(last.span().start, "tls.more", what, instead);
    }
    let mut pairs = Vec::new();
    for table in tables.iter().take(PAIRS_MAX) {
        let (start, own) = (table.span().start, table.get_ref());
        let judged = pair(check, start, "tls.more", (&own.certificate, &own.key));
        pairs.extend(judged.map(|(certificate, key)| TlsPair {
            certificate: certificate.value,
            key: key.value,
        }));
    }
    pairs
}

fn pair(
    check: &mut Checker<'_>,
    start: usize,
    table: &str,
    written: (&At<std::path::PathBuf>, &At<std::path::PathBuf>),
) -> Option<Pair> {
    let (Some(certificate), Some(key)) = written else {
        check.refuse(
            start,
            table,
            "certificate and key belong together",
            "write both as paths of PEM files, or leave the table out",
        );
        return None;
    };
    for (at, name) in [(certificate, "certificate"), (key, "key")] {
        let path = check.path(at).value;
        if !path.is_file() {
            let what = format!("{} is not a file", path.display());
            let name = format!("{table}.{name}");
            check.refuse(at.span().start, &name, what, "name a PEM file");
        }
    }
    Some((check.path(certificate), check.path(key)))
}
