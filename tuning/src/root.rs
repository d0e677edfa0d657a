//! The root below which `/proc`, `/sys`, `/etc` and `/run` are read.
//!
//! Injectable, so that a test can lay out another machine in a folder. Invariant: every file is
//! read up to a limit only. Not promised: that netlink answers come from the same machine; a root
//! other than `/` is read without netlink.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Most bytes of one file: `/proc/interrupts` of 512 processors with 2,000 interrupts is 14 MiB.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Most entries of one folder: far more than cards, interrupts or disks of any host.
const ENTRIES_MAX: usize = 20_000;

/// A root folder.
#[derive(Clone, Debug)]
pub struct Root(PathBuf);

impl Default for Root {
    fn default() -> Self {
        Self(PathBuf::from("/"))
    }
}

impl Root {
    /// Another root than `/`.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Whether this is the running machine.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// The place of a path that starts at the root.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// The text of a file.
    ///
    /// # Errors
    /// As reading files does; also when it is larger than the limit of this module.
    pub fn text(&self, path: &str) -> io::Result<String> {
        let mut bytes = Vec::new();
        let file = File::open(self.path(path))?;
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(io::Error::other(format!("/{path} is too large")));
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The text of a file of one line.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn line(&self, path: &str) -> io::Result<String> {
        self.text(path).map(|text| text.trim().to_owned())
    }

    /// A file that holds one number.
    ///
    /// # Errors
    /// As [`Self::text`], or when it holds no number.
    pub fn number<N: std::str::FromStr>(&self, path: &str) -> io::Result<N> {
        let line = self.line(path)?;
        line.parse()
            .map_err(|_| io::Error::other(format!("/{path} holds {line:?}, no number")))
    }

    /// The last part of where a link points to.
    #[must_use]
    pub fn target_name(&self, path: &str) -> Option<String> {
        let target = std::fs::read_link(self.path(path)).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }

    /// The names in a folder, sorted; nothing where it is not there.
    #[must_use]
    pub fn names(&self, path: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(path)) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .flatten()
            .take(ENTRIES_MAX)
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// Whether something is there.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }
}

/// The processors of a list such as `0-3,8`; at most 4,096, the kernel's own limit on x86.
#[must_use]
pub fn cpu_list(text: &str) -> Vec<u32> {
    /// Processors of one list: 4,096 is what the kernel itself allows on x86 (NR_CPUS).
    const CPUS_MAX: usize = 4096;
    let mut cpus = Vec::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse::<u32>()) {
            cpus.extend((first..=last).take(CPUS_MAX));
        }
    }
    cpus.truncate(CPUS_MAX);
    cpus
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_are_read_as_the_kernel_writes_them() {
        assert_eq!(cpu_list("0-2,8\n"), [0, 1, 2, 8]);
        assert_eq!(cpu_list(""), Vec::<u32>::new());
        assert_eq!(cpu_list("0-4000000000").len(), 4096);
    }
}
