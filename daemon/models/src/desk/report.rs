//! What tasks tell in the end: what was published, what a verification found.
//!
//! Invariant: every kind of damage has a word of its own. Not promised: an order among damages.

use towline_store::{RepoName, TagName};

use towline_api as api;

pub(super) fn verified(report: &towline_store::VerifyReport) -> api::Verified {
    let damages = report.damages.iter().map(|damage| api::Damage {
        kind: kind(damage.kind).to_owned(),
        path: damage.path.clone(),
        detail: damage.detail.clone(),
        revisions: damage
            .revisions
            .iter()
            .map(|(name, rev)| format!("{name}@{rev}"))
            .collect(),
        remedy: match damage.remedy {
            towline_store::Remedy::Healed => "healed",
            towline_store::Remedy::Quarantined => "quarantined",
            towline_store::Remedy::Left => "left",
        }
        .to_owned(),
    });
    api::Verified {
        revisions: report.revisions,
        files: report.files,
        bytes: report.bytes,
        damages: damages.collect(),
    }
}

fn kind(kind: towline_store::DamageKind) -> &'static str {
    use towline_store::DamageKind;
    match kind {
        DamageKind::Data => "data",
        DamageKind::Length => "length",
        DamageKind::Missing => "missing",
        DamageKind::Table => "table",
        DamageKind::Manifest => "manifest",
        DamageKind::Index => "index",
        DamageKind::Ledger => "ledger",
        DamageKind::Shown => "shown",
        DamageKind::Signature => "signature",
    }
}

pub(super) fn describe(
    name: &RepoName,
    tag: &TagName,
    published: &towline_store::Published,
) -> api::Published {
    let stored = &published.stored;
    api::Published {
        name: name.to_string(),
        tag: tag.to_string(),
        revision: published.rev.to_string(),
        files: published.files,
        bytes: published.bytes,
        bytes_written: stored.written,
        bytes_linked: stored.linked,
        bytes_cloned: stored.cloned,
        bytes_known_written: stored.known_written,
        bytes_zero: stored.zero,
        unchanged: published.unchanged,
    }
}
