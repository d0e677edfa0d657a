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

use towline_config::Effective;
use towline_volume::Exports;
use towline_volume::volume::place_of;

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

    /// What is wrong now: the volume, and what an operator should do.
    pub(crate) fn faults(&self) -> Vec<(String, String)> {
        self.lock().clone()
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

/// Looks until the runtime ends.
pub(crate) async fn serve(standing: Arc<Standing>) {
    let mut timer = tokio::time::interval(INTERVAL);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        let standing = standing.clone();
        if tokio::task::spawn_blocking(move || standing.look())
            .await
            .is_err()
        {
            return;
        }
    }
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
            standing
                .faults()
                .pop()
                .map_or(String::new(), |(_, why)| why)
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
