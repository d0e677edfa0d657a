//! Whether the folders of the volumes are still those that the node opened.
//!
//! A node holds the folder that stood at a volume's path when it started. A folder that was moved
//! away and made anew, a disk that was mounted late or unmounted: clients go on with what the
//! path no longer leads to, and nobody sees it. So the path is looked at now and then; status,
//! `/healthz` and the log say what was found. Invariant: a fault is logged when it begins and when
//! it ends, not in between. Not promised: that a client is kept from the old folder; a restart of
//! the node opens the new one.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::StatusCode;
use towline_api::Status;
use towline_config::Effective;
use towline_volume::Exports;
use towline_volume::volume::place_of;

use crate::part::page::{Kind, Tier};
use crate::part::route::text;
use crate::part::{Methods, Page, Part, Reply, Route};

/// How often the paths are looked at: soon enough for a person who has just mounted a disk.
const INTERVAL: Duration = Duration::from_secs(5);

/// The folder of one volume.
#[derive(Debug)]
struct Watched {
    volume: String,
    path: PathBuf,
    /// Device and inode of the folder that is served.
    place: (u64, u64),
}

/// What is known of the volumes' folders.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    watched: Vec<Watched>,
    /// Volumes whose folder is not the one that is served, each with a sentence.
    faults: Mutex<Vec<(String, String)>>,
}

impl Standing {
    /// The folders of these volumes as they were opened.
    pub(crate) fn new(effective: &Effective, exports: &Exports) -> Self {
        let watched = effective.volumes.iter().filter_map(|volume| {
            let export = exports.by_name(volume.name.as_bytes())?;
            let root = export.volume.root().ok()?;
            Some(Watched {
                volume: volume.name.clone(),
                path: volume.path.value.clone(),
                place: (root.identity.file_system, root.identity.file_id),
            })
        });
        Self {
            watched: watched.collect(),
            faults: Mutex::default(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(String, String)>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at every path. Blocks as long as a disk does.
    fn look(&self) {
        let found: Vec<_> = self.watched.iter().filter_map(Watched::fault).collect();
        let before = std::mem::replace(&mut *self.lock(), found.clone());
        for (volume, error) in &found {
            if before.iter().all(|(other, _)| other != volume) {
                tracing::warn!(
                    volume,
                    error,
                    "a volume's folder is not the one that is served"
                );
            }
        }
        for (volume, _) in &before {
            if found.iter().all(|(other, _)| other != volume) {
                tracing::info!(volume, "a volume's folder is the one that is served again");
            }
        }
    }
}

impl Watched {
    fn fault(&self) -> Option<(String, String)> {
        let path = self.path.display();
        let what = match place_of(&self.path) {
            Ok(place) if place == self.place => return None,
            Ok((device, _)) if device != self.place.0 => {
                format!("at {path} a file system was mounted or unmounted")
            }
            Ok(_) => format!("the folder {path} was replaced by another"),
            Err(error) => format!("the folder {path} cannot be reached ({error})"),
        };
        let volume = self.volume.clone();
        let sentence = format!(
            "volume '{volume}': {what} since the node started, and clients still see what was \
             there before; restart the node. For a disk of its own, require_mount = true makes \
             the node wait for it"
        );
        Some((volume, sentence))
    }
}

impl Part for Standing {
    fn routes(self: Arc<Self>) -> Vec<Route> {
        let health = move |_| {
            let is_well = self.lock().is_empty();
            async move { health(is_well) }
        };
        vec![Route::at("/healthz", Methods::Reads, health).open_to_all()]
    }

    fn metrics(&self, page: &mut Page) {
        let name = "towline_node_volumes_displaced";
        let help = "Volumes whose folder is not the one that is served.";
        let count = self.lock().len();
        page.metric((name, Kind::Gauge, Tier::Stable), help, count);
    }

    fn status(&self, status: &mut Status) {
        for (volume, fault) in self.lock().iter() {
            if status.volumes.iter().any(|shown| shown.name == *volume) {
                status.notes.push(fault.clone());
            }
        }
    }

    fn every(&self) -> Option<Duration> {
        Some(INTERVAL)
    }

    fn tick(&self) {
        self.look();
    }
}

/// The page at `/healthz`.
fn health(is_well: bool) -> Reply {
    if is_well {
        return text(StatusCode::OK, "ok\n");
    }
    let why = "the folder of a volume is not the one that is served; towline status on \
               the node and its log say which\n";
    text(StatusCode::SERVICE_UNAVAILABLE, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_was_replaced_is_told_until_it_is_back() {
        let dir = tempfile::tempdir().unwrap();
        let (path, aside) = (dir.path().join("v"), dir.path().join("aside"));
        std::fs::create_dir(&path).unwrap();
        let standing = Standing {
            watched: vec![Watched {
                volume: "v".to_owned(),
                path: path.clone(),
                place: place_of(&path).unwrap(),
            }],
            faults: Mutex::default(),
        };
        let told = || {
            standing.look();
            let faults = standing.lock();
            faults.last().map_or(String::new(), |(_, why)| why.clone())
        };
        assert_eq!(told(), "");
        std::fs::rename(&path, &aside).unwrap();
        assert!(told().contains("cannot be reached"));
        std::fs::create_dir(&path).unwrap();
        assert!(told().contains("replaced by another"));
        std::fs::remove_dir(&path).unwrap();
        std::fs::rename(&aside, &path).unwrap();
        assert_eq!(told(), "");
    }
}
