//! From the volumes of the configuration to exports that can be served.
//!
//! Invariant: a default volume's folder is made when it is missing; a folder that somebody named
//! must be there, because a typing error must not serve an empty directory. Not promised: that a
//! file system supports kernel handles; [`Tree`] finds another way then.

use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use towline_base::MacKey;
use towline_config::{self as config, Effective};
use towline_store::Store;
use towline_volume::handle::HandleKeys;
use towline_volume::tree::Writing;
use towline_volume::{
    Export, Exports, Identity, Reach, Squash, Tree, VolumeError, VolumeId, VolumeKind,
};

use crate::error::NodeError;
use crate::process;
use crate::pull::Arriving;

/// Mode of a default folder that clients write to, where the node acts as its callers: every
/// user may make files there and remove only their own, as in `/tmp`.
const SHARED_MODE: u32 = 0o1777;

/// Mode of every other default folder.
const PLAIN_MODE: u32 = 0o755;

/// The volumes of a node.
pub(crate) struct Volumes {
    pub(crate) exports: Arc<Exports>,
    /// Which files are still on their way here.
    pub(crate) arriving: Arc<Arriving>,
    /// The store of the first volume of models that can have one.
    pub(crate) models: Option<towline_http::Models>,
}

/// Name of the volume that shows the models in the layout of the hub's cache.
const HUB_VOLUME: &str = "hub";

/// Opens every volume, and the store of models with the second view that it keeps. That view
/// becomes one more volume of `effective`. Where there can be no store, `notes` says why.
pub(crate) fn open(
    effective: &mut Effective,
    key: MacKey,
    notes: &mut Vec<String>,
) -> Result<Volumes, NodeError> {
    let keys = HandleKeys::new(key);
    let arriving = Arc::<Arriving>::default();
    let mut list = Vec::new();
    for volume in &effective.volumes {
        list.push(Arc::new(open_one(volume, &keys, &arriving)?));
    }
    let mut models = None;
    let is_model = |export: &&Arc<Export>| export.kind == VolumeKind::Model;
    if let Some(export) = list.iter().find(is_model).cloned()
        && let Some(volume) = effective
            .volumes
            .iter()
            .find(|volume| volume.name == export.name)
    {
        match store(volume) {
            Ok(store) => {
                let root = volume.path.value.clone();
                models = Some(towline_http::Models::new(store, export, root));
            }
            Err(error) => notes.push(format!(
                "no models can be published or pulled here: {error}. Other files of '{}' are \
                 served as they are",
                volume.name
            )),
        }
        let is_free = effective
            .volumes
            .iter()
            .all(|volume| volume.name != HUB_VOLUME);
        if is_free && models.is_some() {
            let mut view = volume.clone();
            view.name = HUB_VOLUME.to_owned();
            view.path.value = volume.path.value.join(towline_store::layout::HUB);
            list.push(Arc::new(open_one(&view, &keys, &arriving)?));
            effective.volumes.push(view);
        }
    }
    let exports = Arc::new(Exports::new(list, keys));
    Ok(Volumes {
        exports,
        arriving,
        models,
    })
}

fn store(volume: &config::Volume) -> Result<Store, towline_store::StoreError> {
    let options = towline_store::Options {
        quota: volume.size_max.value,
        origins: Some(Arc::new(crate::heal::Origins)),
        ..Default::default()
    };
    Store::open_directory(&volume.path.value, options)
}

/// Makes the folder of a volume that nobody named.
fn make_folder(volume: &config::Volume) -> std::io::Result<()> {
    let path = &volume.path.value;
    if path.exists() {
        return Ok(());
    }
    let is_shared = process::acts_as_callers() && volume.kind.value != config::VolumeKind::Model;
    DirBuilder::new()
        .recursive(true)
        .mode(PLAIN_MODE)
        .create(path)?;
    let mode = if is_shared { SHARED_MODE } else { PLAIN_MODE };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

fn open_one(
    volume: &config::Volume,
    keys: &HandleKeys,
    arriving: &Arc<Arriving>,
) -> Result<Export, NodeError> {
    let path: &Path = &volume.path.value;
    let failed = |error: String, hint: &'static str| NodeError::Volume {
        volume: volume.name.clone(),
        path: path.to_owned(),
        error,
        hint,
    };
    if volume.path.is_default() {
        make_folder(volume).map_err(|error| {
            failed(
                error.to_string(),
                "Choose a data directory that you may write to with --data",
            )
        })?;
    }
    let kind = match volume.kind.value {
        config::VolumeKind::Model => VolumeKind::Model,
        config::VolumeKind::Project => VolumeKind::Project,
        config::VolumeKind::Cache => VolumeKind::Cache,
    };
    let writing = match kind {
        _ if volume.read_only.value => Writing::ReadOnly,
        VolumeKind::Model => Writing::ReadOnly,
        VolumeKind::Project => Writing::Synchronous,
        VolumeKind::Cache => Writing::Asynchronous,
    };
    let id = VolumeId::of_name(&volume.name);
    let tree = Tree::open(path, id, keys.clone(), writing, volume.size_max.value);
    let tree = tree.map_err(|error: VolumeError| {
        failed(error.to_string(), "Make the directory, or correct 'path'")
    })?;
    let tree = match kind {
        VolumeKind::Model => tree.with_gates(arriving.clone()),
        VolumeKind::Project | VolumeKind::Cache => tree,
    };
    let tokens = volume
        .tokens
        .value
        .iter()
        .map(|(secret, reach)| towline_volume::export::Token {
            secret: secret.expose().to_owned(),
            reach: match reach {
                config::TokenReach::Read => Reach::Read,
                config::TokenReach::Write => Reach::Write,
            },
        });
    Ok(Export {
        id,
        name: volume.name.clone(),
        kind,
        volume: Arc::new(tree),
        allow: volume.allow.value.clone(),
        allow_write: volume.allow_write.value.clone(),
        squash: match volume.squash.value {
            config::Squash::Root => Squash::Root,
            config::Squash::All => Squash::All,
            config::Squash::None => Squash::None,
        },
        anonymous: Identity::new(volume.anonymous_uid.value, volume.anonymous_gid.value, &[]),
        tokens: tokens.collect(),
    })
}
