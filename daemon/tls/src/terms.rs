//! What all connections of HTTPS share: settings, certificates, ciphers of the kernel, counters.
//!
//! Invariant: certificates are read before a port is open. Not promised: that the kernel encrypts;
//! where it does not, this process does.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use rustls::server::UnbufferedServerConnection;
use rustls::{CipherSuite, ServerConfig};
use towline_config as config;
use towline_sys::kernel_tls::{self, Cipher};

use crate::certificates::Certificates;

/// A certificate or a key that cannot be used: which file, and what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(pub String);

/// What happened at this door.
#[derive(Debug, Default)]
pub struct Tally {
    /// Connections whose handshake succeeded.
    pub accepted: AtomicU64,
    /// Of these, how many the kernel encrypts.
    pub in_kernel: AtomicU64,
    /// Handshakes that failed, or were not finished in time.
    pub failed: AtomicU64,
    /// Connections that are relayed now.
    pub relayed: AtomicU64,
}

/// Everything that connections share.
#[derive(Clone)]
pub struct Terms {
    pub(crate) config: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
    /// What the kernel takes over.
    in_kernel: Arc<[Cipher]>,
    pub(crate) tally: Arc<Tally>,
}

impl Terms {
    /// Reads the certificates.
    ///
    /// # Errors
    /// [`TlsError`]: which file, and what is wrong with it.
    pub fn load(tls: &config::Tls) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let certificates = Arc::new(Certificates::load(tls, provider.clone())?);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError(error.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(certificates.clone());
        // HTTP/1.1 only: the whole family of HTTP/2 reset attacks has no place here (threat H4).
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.enable_secret_extraction = true;
        Ok(Self {
            config: Arc::new(config),
            certificates,
            in_kernel: kernel_tls::ciphers().into(),
            tally: Arc::default(),
        })
    }

    /// Whether the kernel may take over a connection that has shaken hands.
    pub(crate) fn suits_kernel(&self, tls: &UnbufferedServerConnection) -> bool {
        let suite = tls.negotiated_cipher_suite().map(|suite| suite.suite());
        let cipher = match suite {
            Some(
                CipherSuite::TLS13_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            ) => Cipher::Aes128Gcm,
            Some(
                CipherSuite::TLS13_AES_256_GCM_SHA384
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
                | CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            ) => Cipher::Aes256Gcm,
            _ => Cipher::Chacha20Poly1305,
        };
        self.in_kernel.contains(&cipher)
    }

    /// What was counted.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Looks whether the files of the certificates have changed. Blocks.
    pub fn renew(&self) {
        self.certificates.renew();
    }
}
