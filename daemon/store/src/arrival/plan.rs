//! The plan of an arrival on the disk, so that it can go on after a restart.
//!
//! Invariant: the same plan has the same key, and a plan that differs in any file or in its origin
//! has another, so bytes of one version are never taken for those of another. Not promised: that
//! a plan file of a later version can be read; it is passed over then.

use serde::{Deserialize, Serialize};

use super::{ArrivalFile, ArrivalPlan};
use crate::disk::DiskAccess;
use crate::error::{Result, io};
use crate::layout;
use crate::manifest::MANIFEST_BYTES_MAX;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct PlanText {
    version: u32,
    repo: String,
    rev: Option<String>,
    parent: Option<String>,
    created: Option<u64>,
    message: String,
    origin: String,
    files: Vec<FileText>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    path: String,
    size: u64,
    sha256: Option<String>,
    git_oid: Option<String>,
}

pub(super) fn path(directory: &str) -> String {
    format!("{directory}/plan.json")
}

/// The name of an arrival's directory.
pub(super) fn key(plan: &ArrivalPlan) -> String {
    let hash = blake3::hash(&encode(plan)).to_hex();
    hash.as_str().chars().take(32).collect()
}

pub(super) fn encode(plan: &ArrivalPlan) -> Vec<u8> {
    let files = plan.files.iter().map(|file| FileText {
        path: file.path.to_string(),
        size: file.size,
        sha256: file.sha256.map(|hash| hash.to_string()),
        git_oid: file.git_oid.map(|id| id.to_string()),
    });
    let text = PlanText {
        version: 1,
        repo: plan.repo.to_string(),
        rev: plan.rev.map(|rev| rev.to_string()),
        parent: plan.parent.map(|rev| rev.to_string()),
        created: plan.created,
        message: plan.message.clone(),
        origin: plan.origin.clone(),
        files: files.collect(),
    };
    serde_json::to_vec(&text).unwrap_or_default()
}

fn decode(bytes: &[u8]) -> Option<ArrivalPlan> {
    let text: PlanText = serde_json::from_slice(bytes).ok()?;
    if text.version != 1 {
        return None;
    }
    let files = text.files.iter().map(|file| {
        Some(ArrivalFile {
            path: file.path.parse().ok()?,
            size: file.size,
            sha256: optional(file.sha256.as_deref())?,
            git_oid: optional(file.git_oid.as_deref())?,
        })
    });
    Some(ArrivalPlan {
        repo: text.repo.parse().ok()?,
        rev: optional(text.rev.as_deref())?,
        parent: optional(text.parent.as_deref())?,
        created: text.created,
        message: text.message.clone(),
        origin: text.origin.clone(),
        files: files.collect::<Option<_>>()?,
    })
}

fn optional<T: std::str::FromStr>(text: Option<&str>) -> Option<Option<T>> {
    match text {
        None => Some(None),
        Some(text) => text.parse().ok().map(Some),
    }
}

/// Every plan on the disk that can be read, with its key.
pub(super) fn stored(disk: &DiskAccess) -> Result<Vec<(String, ArrivalPlan)>> {
    let mut found = Vec::new();
    let entries = disk
        .backend
        .list(layout::ARRIVALS)
        .map_err(io("list", layout::ARRIVALS))?;
    for entry in entries {
        let path = path(&format!("{}/{}", layout::ARRIVALS, entry.name));
        let Ok(bytes) = disk.read_whole(&path, MANIFEST_BYTES_MAX) else {
            continue;
        };
        if let Some(plan) = decode(&bytes) {
            found.push((entry.name, plan));
        }
    }
    Ok(found)
}
