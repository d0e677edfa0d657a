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
use towline_http::{Keyring, ModelToken};
use towline_store::{BusyFault, PublicKey, Signer, Store, StoreError, signing_key};
use towline_transfer::{Arriving, Origins};
use towline_volume::handle::HandleKeys;
use towline_volume::tree::Writing;
use towline_volume::{
    Export, Exports, Hidden, Identity, Private, Reach, Spelling, Squash, Tree, Volume, VolumeError,
    VolumeId, VolumeKind,
};

use crate::error::NodeError;
use crate::process;

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
    /// Who may see private models, and publish.
    pub(crate) keyring: Arc<Keyring>,
    /// Whose signatures count, and the node's own key.
    pub(crate) signing: Signing,
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
    let keyring = Arc::new(keyring(&effective.models));
    let signing = Signing::of(&effective.models)?;
    let first = effective.volumes.iter();
    let mut first = first.filter(|volume| volume.kind.value == config::VolumeKind::Model);
    let first = first.next().map(|volume| volume.name.clone());
    let private = |spelling| private(&keyring, spelling);
    let mut list = Vec::new();
    for volume in &effective.volumes {
        let is_first = first.as_ref() == Some(&volume.name);
        let private = is_first.then(|| private(Spelling::Repositories)).flatten();
        list.push(Arc::new(open_one(volume, (&keys, private), &arriving)?));
    }
    let mut models = None;
    let is_model = |export: &&Arc<Export>| export.kind == VolumeKind::Model;
    if let Some(export) = list.iter().find(is_model).cloned()
        && let Some(volume) = effective
            .volumes
            .iter()
            .find(|volume| volume.name == export.name)
    {
        if let Some(store) = store_of(volume, &signing, notes)? {
            let root = volume.path.value.clone();
            models = Some(towline_http::Models::new(store, export, root));
        }
        let is_free = effective
            .volumes
            .iter()
            .all(|volume| volume.name != HUB_VOLUME);
        if is_free && models.is_some() {
            let mut view = volume.clone();
            view.name = HUB_VOLUME.to_owned();
            view.path.value = volume.path.value.join(towline_store::layout::HUB);
            list.push(Arc::new(open_one(
                &view,
                (&keys, private(Spelling::HubCache)),
                &arriving,
            )?));
            effective.volumes.push(view);
        }
    }
    let exports = Arc::new(Exports::new(list, keys));
    Ok(Volumes {
        exports,
        arriving,
        models,
        keyring,
        signing,
    })
}

/// Lets clients of NFSv4 be promised that published files stay as they are: the store says what it
/// is about to take away or to replace, and goes on when the promises are given back.
pub(crate) fn announce_changes(volumes: &Volumes, nfs: &Arc<towline_nfs::Server>) {
    let Some(models) = &volumes.models else {
        return;
    };
    let (listener, root) = (nfs.clone(), models.root().to_owned());
    models.store().announce_to(Arc::new(move |path: &str| {
        listener.changes_below(&root.join(path));
    }));
    let is_its = |export: &&Arc<Export>| {
        let is_second = export.name == HUB_VOLUME && export.kind == VolumeKind::Model;
        export.name == models.export().name || is_second
    };
    let exports = volumes.exports.all().iter();
    nfs.guard(exports.filter(is_its).map(|export| export.id).collect());
}

/// The store of a volume of models; where there can be none, `notes` says why.
fn store_of(
    volume: &config::Volume,
    signing: &Signing,
    notes: &mut Vec<String>,
) -> Result<Option<Store>, NodeError> {
    match store(volume, signing) {
        Ok(store) => {
            notes.extend(refused_note(&store));
            Ok(Some(store))
        }
        Err(StoreError::Busy(BusyFault::Locked)) => Err(NodeError::Volume {
            volume: volume.name.clone(),
            path: volume.path.value.clone(),
            error: "another node has its models open".to_owned(),
            hint: "Stop that node, or give this volume a directory of its own",
        }),
        Err(error) => {
            notes.push(format!(
                "no models can be published or pulled here: {error}. Other files of '{}' are \
                 served as they are",
                volume.name
            ));
            Ok(None)
        }
    }
}

fn store(volume: &config::Volume, signing: &Signing) -> Result<Store, StoreError> {
    let options = towline_store::Options {
        quota: volume.size_max.value,
        origins: Some(Arc::new(Origins)),
        require_signature: signing.is_required,
        trusted_keys: signing.trusted.iter().map(|(key, _)| *key).collect(),
        ..Default::default()
    };
    Store::open_directory(&volume.path.value, options)
}

/// What the operator should know of: models that are kept and not served.
fn refused_note(store: &Store) -> Option<String> {
    let catalog = store.catalog();
    let refused = catalog.refused.values();
    let count: usize = refused.map(|repo| repo.revisions.len()).sum();
    (count > 0).then(|| {
        format!(
            "{count} revisions of models are not served: no key of models.trusted_keys has signed \
             them. 'towline models' shows which, 'towline models sign ORG/MODEL:TAG' signs one"
        )
    })
}

fn keyring(models: &config::Models) -> Keyring {
    let tokens = models.tokens.iter().map(|token| ModelToken {
        secret: token.secret.expose().to_owned(),
        prefix: token.prefix.value.clone(),
        publishes: token.rights.value == config::ModelRights::Publish,
    });
    Keyring::new(tokens.collect())
}

/// What a volume of models hides; `None`: nothing is private.
fn private(keyring: &Keyring, spelling: Spelling) -> Option<Arc<Private>> {
    let prefixes = keyring.private().to_vec();
    (!prefixes.is_empty()).then(|| Arc::new(Private { spelling, prefixes }))
}

/// Whose signatures count.
pub(crate) struct Signing {
    is_required: bool,
    /// Keys with what the operator calls them; the node's own is among them.
    pub(crate) trusted: Vec<(PublicKey, String)>,
    /// The node's own key.
    pub(crate) signer: Option<Arc<Signer>>,
}

impl Signing {
    fn of(models: &config::Models) -> Result<Self, NodeError> {
        let keys = models.trusted_keys.value.iter();
        let mut trusted: Vec<_> = keys
            .map(|key| (PublicKey(key.key), key.name.clone()))
            .collect();
        let signer = match &models.signing_key.value {
            None => None,
            Some(path) => {
                let read = signing_key::read(path);
                let signer = read.map_err(|fault| NodeError::SigningKey(fault.to_string()))?;
                let own = signer.public_key();
                if trusted.iter().all(|(key, _)| *key != own) {
                    trusted.push((own, "this node".to_owned()));
                }
                Some(Arc::new(signer))
            }
        };
        Ok(Self {
            is_required: models.require_signature.value,
            trusted,
            signer,
        })
    }
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
    (keys, private): (&HandleKeys, Option<Arc<Private>>),
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
    // Handles of what has become private must not open it any more, so they are of another volume.
    let id = match &private {
        None => VolumeId::of_name(&volume.name),
        Some(private) => VolumeId::of_name(&format!("{}\n{}", volume.name, private.mark())),
    };
    let tree = Tree::open(path, id, keys.clone(), writing, volume.size_max.value);
    let tree = tree.map_err(|error: VolumeError| {
        failed(error.to_string(), "Make the directory, or correct 'path'")
    })?;
    let tree = match kind {
        VolumeKind::Model => tree.with_gates(arriving.clone()),
        VolumeKind::Project | VolumeKind::Cache => tree,
    };
    let (shown, hidden) = divide(tree, private);
    Ok(Export {
        id,
        name: volume.name.clone(),
        kind,
        volume: shown,
        hidden,
        allow: volume.allow.value.clone(),
        allow_write: volume.allow_write.value.clone(),
        squash: match volume.squash.value {
            config::Squash::Root => Squash::Root,
            config::Squash::All => Squash::All,
            config::Squash::None => Squash::None,
        },
        anonymous: Identity::new(volume.anonymous_uid.value, volume.anonymous_gid.value, &[]),
        tokens: tokens(volume),
    })
}

/// The tree as everybody sees it, and what it hides.
fn divide(tree: Tree, private: Option<Arc<Private>>) -> (Arc<dyn Volume>, Option<Hidden>) {
    let Some(private) = private else {
        return (Arc::new(tree), None);
    };
    let shown = Arc::new(tree.hiding(private.clone()));
    let whole = Arc::new(tree);
    (shown, Some(Hidden { private, whole }))
}

fn tokens(volume: &config::Volume) -> Vec<towline_volume::export::Token> {
    let tokens = volume.tokens.value.iter();
    let tokens = tokens.map(|(secret, reach)| towline_volume::export::Token {
        secret: secret.expose().to_owned(),
        reach: match reach {
            config::TokenReach::Read => Reach::Read,
            config::TokenReach::Write => Reach::Write,
        },
    });
    tokens.collect()
}
