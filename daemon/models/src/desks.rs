//! The desks at which models change hands: uploads of hub clients, and the calls of `/v1/models`.
//!
//! Invariant: both share one staging and one keyring, so what one has taken in the other may
//! publish. Not promised: that a node has any; one without a volume of models has none.

use std::path::Path;
use std::sync::Arc;

use towline_base::MacKey;
use towline_config::Limits;
use towline_http::{Keyring, Models};
use towline_store::{PublicKey, Signer};
use towline_transfer::Arriving;

use crate::desk::ModelDesk;
use crate::hub_upload::UploadDesk;
use crate::metrics::{self, Line};
use crate::uploads::{Bounds, PaceBounds, Staging, Uploads};

/// What the desks work on.
pub struct Stock {
    /// The store, and what of it is shown.
    pub models: Models,
    /// Which files are still on their way here.
    pub arriving: Arc<Arriving>,
    /// Who may see private models, and publish.
    pub keyring: Arc<Keyring>,
    /// Whose signatures count, and what the operator calls them.
    pub trusted: Vec<(PublicKey, String)>,
    /// The node's own key.
    pub signer: Option<Arc<Signer>>,
}

/// The desks for the models of one store.
pub struct Desks {
    /// For hub clients.
    pub uploads: Arc<UploadDesk>,
    /// For `/v1/models`.
    pub models: Arc<ModelDesk>,
}

impl Desks {
    /// Opens them. Uploads lie below the data directory `data`; `key` signs where they go. What an
    /// earlier process has left there and cannot be gone on with is removed. Blocks for that.
    #[must_use]
    pub fn open(stock: Stock, (data, key): (&Path, MacKey), limits: &Limits) -> Self {
        let staging = Staging::new(data, key);
        let bounds = Bounds {
            size_max: limits.upload_size.value,
            part_bytes: limits.upload_part.value,
            pace: PaceBounds {
                stall_max: limits.stall_timeout.value,
                bytes_per_s: limits.progress_per_s.value,
            },
        };
        let Stock {
            models,
            arriving,
            keyring,
            trusted,
            signer,
        } = stock;
        let uploads = Arc::new(Uploads::new(models, staging, bounds, signer));
        let desk = UploadDesk::new(uploads.clone(), keyring.clone());
        Self {
            uploads: Arc::new(desk),
            models: Arc::new(ModelDesk::new(uploads, keyring, trusted, arriving)),
        }
    }

    /// What goes to the page of metrics, in the order of that page.
    #[must_use]
    pub fn metrics(&self) -> Vec<Line> {
        let uploads = &self.uploads;
        let mut lines = metrics::upload_lines(uploads.tally(), uploads.unsigned_revisions());
        lines.extend(self.models.metrics());
        lines
    }
}
