//! What the defaults depend on: who runs the node, and where that user's data lives.
//!
//! Governed by the XDG base directory specification 0.8 (`XDG_DATA_HOME`, absolute or ignored).
//! Kept apart from the settings so that tests can put themselves anywhere.

use std::path::PathBuf;

/// The node's surroundings.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Root runs it: data lies under `/var/lib`.
    pub is_root: bool,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `XDG_DATA_HOME`.
    pub data_home: Option<PathBuf>,
    /// The host's name, the default of the node's.
    pub host: String,
}

impl Surroundings {
    /// Those of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let path = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let host = rustix::system::uname();
        Self {
            is_root: rustix::process::geteuid().is_root(),
            home: path("HOME"),
            data_home: path("XDG_DATA_HOME"),
            host: host.nodename().to_string_lossy().into_owned(),
        }
    }

    /// Where data lies by default; `None` if there is neither root nor a home.
    #[must_use]
    pub fn data(&self) -> Option<PathBuf> {
        if self.is_root {
            return Some(PathBuf::from("/var/lib/towline"));
        }
        let absolute = self.data_home.as_ref().filter(|path| path.is_absolute());
        if let Some(path) = absolute {
            return Some(path.join("towline"));
        }
        let home = self.home.as_ref().filter(|path| path.is_absolute())?;
        Some(home.join(".local/share/towline"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_lies_where_its_user_expects_it() {
        let of = |is_root, home: Option<&str>, data_home: Option<&str>| {
            let surroundings = Surroundings {
                is_root,
                home: home.map(PathBuf::from),
                data_home: data_home.map(PathBuf::from),
                host: "n".to_owned(),
            };
            surroundings.data().map(|path| path.display().to_string())
        };
        assert_eq!(
            of(true, Some("/root"), None).as_deref(),
            Some("/var/lib/towline")
        );
        assert_eq!(
            of(false, Some("/h"), Some("/d")).as_deref(),
            Some("/d/towline")
        );
        let at_home = Some("/h/.local/share/towline");
        assert_eq!(of(false, Some("/h"), None).as_deref(), at_home);
        assert_eq!(of(false, Some("/h"), Some("relative")).as_deref(), at_home);
        assert_eq!(of(false, None, None), None);
    }
}
