//! The certificates of HTTPS: which one a client gets, and how they are renewed.
//!
//! A client that names a host (SNI, RFC 6066 section 3) gets the first certificate that is valid
//! for it; all others, and those that name nothing, get that of `[tls]` itself. Files are looked
//! at every [`LOOK_EVERY`]; connections that stand keep what they began with. Invariant: a pair
//! that cannot be used never replaces one that can. Not promised: a look at dates and issuers.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use towline_config::Tls;
use webpki::EndEntityCert;

use crate::terms::TlsError;

/// How often the files are looked at: tools renew a certificate weeks before it ends.
pub const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A pair of files and how they looked when they were read.
#[derive(Debug)]
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
    seen: [Option<(SystemTime, u64)>; 2],
    loaded: Arc<CertifiedKey>,
}

/// Every pair of the node.
#[derive(Debug)]
pub(crate) struct Certificates {
    provider: Arc<CryptoProvider>,
    /// The first one is for everybody.
    pairs: RwLock<Vec<Pair>>,
}

impl Certificates {
    /// Reads all pairs.
    ///
    /// # Errors
    /// [`TlsError`]: which file, and what is wrong with it.
    pub(crate) fn load(tls: &Tls, provider: Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let first = (&tls.certificate.value, &tls.key.value);
        let more = tls.more.iter().map(|pair| (&pair.certificate, &pair.key));
        let pairs = std::iter::once(first)
            .chain(more)
            .map(|(certificate, key)| {
                let seen = look(certificate, key);
                let loaded = read(certificate, key, &provider).map_err(TlsError)?;
                Ok(Pair {
                    certificate: certificate.clone(),
                    key: key.clone(),
                    seen,
                    loaded,
                })
            })
            .collect::<Result<_, TlsError>>()?;
        Ok(Self {
            provider,
            pairs: RwLock::new(pairs),
        })
    }

    /// Reads what has changed since it was last looked at. Blocks on the disk.
    pub(crate) fn renew(&self) {
        let list = |pairs: &Vec<Pair>| -> Vec<_> {
            let each = pairs.iter().enumerate();
            each.map(|(at, pair)| (at, pair.certificate.clone(), pair.key.clone(), pair.seen))
                .collect()
        };
        let before = list(&self.pairs.read().unwrap_or_else(PoisonError::into_inner));
        for (at, certificate, key, seen) in before {
            let now = look(&certificate, &key);
            if now == seen {
                continue;
            }
            let loaded = read(&certificate, &key, &self.provider);
            let mut pairs = self.pairs.write().unwrap_or_else(PoisonError::into_inner);
            let Some(pair) = pairs.get_mut(at) else {
                continue;
            };
            // What cannot be used is told once for each change, not at every look.
            pair.seen = now;
            match loaded {
                Ok(loaded) => {
                    pair.loaded = loaded;
                    tracing::info!("a renewed TLS certificate is in use");
                }
                Err(error) => {
                    tracing::error!(error, "a changed TLS certificate is not used");
                }
            }
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let pairs = self.pairs.read().unwrap_or_else(PoisonError::into_inner);
        let named = hello
            .server_name()
            .and_then(|name| ServerName::try_from(name).ok());
        let fits = |pair: &&Pair| {
            named.as_ref().is_some_and(|name| {
                let leaf = pair.loaded.cert.first();
                let leaf = leaf.and_then(|leaf| EndEntityCert::try_from(leaf).ok());
                leaf.is_some_and(|leaf| leaf.verify_is_valid_for_subject_name(name).is_ok())
            })
        };
        let chosen = pairs.iter().find(fits).or(pairs.first())?;
        Some(Arc::clone(&chosen.loaded))
    }
}

/// How both files look now.
fn look(certificate: &Path, key: &Path) -> [Option<(SystemTime, u64)>; 2] {
    [certificate, key].map(|path| {
        let data = std::fs::metadata(path).ok()?;
        Some((data.modified().ok()?, data.len()))
    })
}

/// Reads a pair.
fn read(
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, String> {
    let named = |path: &Path, what: &str, error: &dyn std::fmt::Display| {
        format!("{what} {}: {error}", path.display())
    };
    let unread = "cannot read the certificate";
    let chain = CertificateDer::pem_file_iter(certificate)
        .map_err(|error| named(certificate, unread, &error))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| named(certificate, unread, &error))?;
    if chain.is_empty() {
        let instead = "it holds no CERTIFICATE block; name a PEM file with the chain in it";
        return Err(named(certificate, unread, &instead));
    }
    let secret = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| named(key, "cannot read the private key", &error))?;
    let pair = CertifiedKey::from_der(chain, secret, provider).map_err(|error| {
        let instead = format!("{error}; is {} the key of this certificate?", key.display());
        named(certificate, "cannot use the certificate", &instead)
    })?;
    Ok(Arc::new(pair))
}
