//! The desks at which models change hands: uploads of hub clients, and the calls of `/v1/models`.
//!
//! Invariant: both share one staging and one keyring, so what one has taken in the other may
//! publish. Not promised: that there are any; a node without a volume of models has none.

use std::sync::Arc;

use towline_config::Effective;

use crate::error::NodeError;
use crate::hub_upload::UploadDesk;
use crate::key_file::{self, Signs};
use crate::models::ModelDesk;
use crate::uploads::{Bounds, PaceBounds, Staging, Uploads};
use crate::volumes::Volumes;

/// The desks for models, where there is a store.
pub(crate) type Desks = (Option<Arc<UploadDesk>>, Option<ModelDesk>);

/// Makes them of settings and volumes.
pub(crate) fn desks(effective: &Effective, volumes: Volumes) -> Result<Desks, NodeError> {
    let Some(models) = volumes.models else {
        return Ok((None, None));
    };
    let data = &effective.node.data.value;
    let key = key_file::load_or_make(data, Signs::Uploads)?;
    let staging = Staging::new(data, key);
    let limits = &effective.limits;
    let bounds = Bounds {
        size_max: limits.upload_size.value,
        part_bytes: limits.upload_part.value,
        pace: PaceBounds {
            stall_max: limits.stall_timeout.value,
            bytes_per_s: limits.progress_per_s.value,
        },
    };
    let (signing, keyring) = (volumes.signing, volumes.keyring);
    let uploads = Arc::new(Uploads::new(models, staging, bounds, signing.signer));
    let desk = UploadDesk::new(uploads.clone(), keyring.clone());
    let models = ModelDesk::new(uploads, keyring, signing.trusted, volumes.arriving);
    Ok((Some(Arc::new(desk)), Some(models)))
}
