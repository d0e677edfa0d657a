//! Certificates for nodes under test, made by openssl.
//!
//! Invariant: a certificate vouches for itself, so it is its own authority. Not promised: that any
//! program but those told so trusts it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use crate::process::{command, must_run};

/// A certificate with its key.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// PEM, and its own authority.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

/// Makes a certificate for `names`, as openssl spells them (`DNS:localhost,IP:127.0.0.1`), in two
/// files of `folder` that begin with `stem`. Files that are there are replaced.
///
/// # Errors
/// Fails when openssl does.
pub fn make(folder: &Path, stem: &str, names: &str) -> Result<Certificate> {
    let made = Certificate {
        certificate: folder.join(format!("{stem}.pem")),
        key: folder.join(format!("{stem}.key")),
    };
    let mut openssl = command(
        "openssl",
        &["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=test"],
    );
    openssl
        .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-addext", &format!("subjectAltName={names}")])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&made.key)
        .arg("-out")
        .arg(&made.certificate);
    must_run(openssl, Duration::from_secs(60))?;
    Ok(made)
}
