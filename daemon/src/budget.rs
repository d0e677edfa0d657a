//! What the node may hold, by what its surroundings give it: descriptors and memory.
//!
//! The limits of the configuration are upper bounds. Where the process may open few files or its
//! cgroup gives it little memory, each part gets a share of what there is, so that a flood of one
//! kind (connections, cached files, half-sent calls) leaves room for the others. Invariant: the
//! shares together are no more than what there is. Not promised: that a limit that is changed
//! while the node runs is noticed.

use std::path::Path;

use rustix::process::{Resource, getrlimit};
use towline_config::{Effective, Limits};
use towline_volume::view::NODES_MAX;

/// Most pipes of one worker: cold reads under way. An ordinary user may have 64 MiB of pipes.
const PIPES_MAX: u64 = 32;

/// Descriptors of the node itself: standard streams, the runtime, the store and its index, locks.
const OWN_DESCRIPTORS: u64 = 40;

/// Descriptors of one worker without its connections: epoll, ring, wake, payload pipe, listeners.
const WORKER_DESCRIPTORS: u64 = 10;

/// Descriptors that one pool thread has open in the middle of a call.
const THREAD_DESCRIPTORS: u64 = 2;

/// Descriptors of one volume: its root, twice.
const VOLUME_DESCRIPTORS: u64 = 2;

/// Descriptors that one cached file may take: its place, one for reading, one for writing.
const NODE_DESCRIPTORS: u64 = 3;

/// Most descriptors that are set aside for what comes and goes: files of uploads under way, walks.
const PASSING_MAX: u64 = 1_024;

/// Connections below which a node is of no use to anybody.
const CONNECTIONS_MIN: u64 = 8;

/// The part of the memory that unfinished messages may take: growing a buffer takes three times
/// its bytes for a moment, and the kernel's own buffers of the same connections count too.
const RECEIVE_PART: u64 = 16;

/// Bytes of unfinished messages below which no node can work: four of the largest.
const RECEIVE_BYTES_MIN: u64 = 4 << 20;

/// Shares of one node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Budget {
    /// Connections in all.
    pub(crate) connections: u64,
    /// Connections from one address: where there are few in all, half of them.
    pub(crate) connections_per_address: u64,
    /// Files that one worker keeps open.
    pub(crate) nodes_per_worker: usize,
    /// Pipes that one worker has in use.
    pub(crate) pipes_per_worker: usize,
    /// Threads for calls that may block.
    pub(crate) pool_threads: u64,
    /// Bytes of unfinished messages in all.
    pub(crate) receive_bytes: u64,
}

impl Budget {
    /// The shares here and now; what had to be lowered is told in `notes`.
    pub(crate) fn new(effective: &Effective, workers: usize, notes: &mut Vec<String>) -> Self {
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let memory = memory_limit(Path::new("/"));
        let volumes = effective.volumes.len() as u64;
        let limits = &effective.limits;
        let budget = Self::of(
            limits,
            (workers.max(1) as u64, volumes),
            descriptors,
            memory,
        );
        if budget.connections < limits.connections.value && !limits.connections.is_default() {
            notes.push(format!(
                "at most {} connections instead of {}: only {descriptors} files may be open",
                budget.connections, limits.connections.value
            ));
        }
        if budget.receive_bytes < limits.receive_budget.value
            && let Some(memory) = memory
        {
            notes.push(format!(
                "unfinished messages may take {} instead of {}: the node may use {} of memory",
                bytes(budget.receive_bytes),
                bytes(limits.receive_budget.value),
                bytes(memory)
            ));
        }
        budget
    }

    fn of(
        limits: &Limits,
        (workers, volumes): (u64, u64),
        descriptors: u64,
        memory: Option<u64>,
    ) -> Self {
        let pool_threads = limits.pool_threads.value.min((descriptors / 16).max(2));
        let own = OWN_DESCRIPTORS
            + workers * WORKER_DESCRIPTORS
            + volumes * VOLUME_DESCRIPTORS
            + pool_threads * THREAD_DESCRIPTORS;
        let rest = descriptors.saturating_sub(own);
        // A quarter for cached files, an eighth for pipes, and an eighth for what comes and goes
        // (uploads, the control plane, walks over directories); connections have the rest.
        let per_worker = |part: u64, each: u64, most: u64| -> usize {
            let share = rest / part / each / workers;
            usize::try_from(share.clamp(2, most)).unwrap_or(usize::MAX)
        };
        let receive = limits.receive_budget.value;
        let receive_bytes = match memory {
            Some(memory) => receive.min((memory / RECEIVE_PART).max(RECEIVE_BYTES_MIN)),
            None => receive,
        };
        let nodes_per_worker = per_worker(4, NODE_DESCRIPTORS, NODES_MAX as u64);
        let pipes_per_worker = per_worker(8, 2, PIPES_MAX);
        let kept = nodes_per_worker as u64 * NODE_DESCRIPTORS + pipes_per_worker as u64 * 2;
        let passing = (rest / 8).min(PASSING_MAX);
        let left = rest.saturating_sub(kept * workers + passing);
        let connections = limits.connections.value.min(left.max(CONNECTIONS_MIN));
        let per_address = limits.connections_per_address.value;
        Self {
            connections,
            connections_per_address: if connections < limits.connections.value {
                per_address.min(connections / 2)
            } else {
                per_address
            },
            nodes_per_worker,
            pipes_per_worker,
            pool_threads,
            receive_bytes,
        }
    }
}

fn bytes(count: u64) -> String {
    towline_base::ByteCount(count).to_string()
}

/// The memory that this process may use, in bytes: the least bound of its cgroup and those above
/// it, version 1 or 2, and the memory of the machine. `root` is where `/proc` and `/sys` are found.
fn memory_limit(root: &Path) -> Option<u64> {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let number = |text: String| text.trim().parse::<u64>().ok();
    let groups = read(&root.join("proc/self/cgroup")).unwrap_or_default();
    let mut found = Vec::new();
    for line in groups.lines() {
        // Number of the hierarchy, its controllers, the path in it (cgroups(7)).
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let is_memory = controllers.split(',').any(|name| name == "memory");
        let (mounts, file) = match controllers {
            "" => (["sys/fs/cgroup", "sys/fs/cgroup/unified"], "memory.max"),
            _ if is_memory => (
                ["sys/fs/cgroup/memory", "sys/fs/cgroup"],
                "memory.limit_in_bytes",
            ),
            _ => continue,
        };
        for above in Path::new(path.trim_start_matches('/')).ancestors() {
            for mount in mounts {
                let file = root.join(mount).join(above).join(file);
                found.extend(read(&file).and_then(number));
            }
        }
    }
    let machine = read(&root.join("proc/meminfo")).unwrap_or_default();
    let total = machine.lines().find_map(|line| {
        let kib = line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?;
        kib.trim().parse::<u64>().ok()
    });
    found.extend(total.map(|kib| kib << 10));
    found.into_iter().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(workers: u64, descriptors: u64, memory: Option<u64>) -> Budget {
        Budget::of(&Limits::default(), (workers, 3), descriptors, memory)
    }

    #[test]
    fn the_shares_are_never_more_than_there_is() {
        for workers in [1, 2, 4, 64] {
            for descriptors in [256, 512, 1_024, 4_096, 65_536, 1 << 20] {
                let budget = of(workers, descriptors, None);
                let own = OWN_DESCRIPTORS
                    + workers * WORKER_DESCRIPTORS
                    + 3 * VOLUME_DESCRIPTORS
                    + budget.pool_threads * THREAD_DESCRIPTORS;
                let nodes = budget.nodes_per_worker as u64 * NODE_DESCRIPTORS * workers;
                let pipes = budget.pipes_per_worker as u64 * 2 * workers;
                let all = own + budget.connections + nodes + pipes;
                let is_too_small = descriptors < 32 * workers;
                assert!(
                    all <= descriptors || is_too_small,
                    "{all} of {descriptors}, {workers} workers: {budget:?}"
                );
            }
        }
    }

    #[test]
    fn plenty_changes_nothing_and_little_leaves_some_of_everything() {
        let rich = of(4, 1 << 20, Some(64 << 30));
        assert_eq!(
            (rich.nodes_per_worker, rich.pipes_per_worker),
            (NODES_MAX, 32)
        );
        assert_eq!((rich.connections, rich.receive_bytes), (16_384, 128 << 20));
        let poor = of(2, 256, Some(64 << 20));
        assert!(
            poor.connections >= 64 && poor.nodes_per_worker >= 4,
            "{poor:?}"
        );
        assert_eq!(poor.receive_bytes, 4 << 20);
    }

    #[test]
    fn the_least_bound_of_all_groups_above_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let limit = || memory_limit(root.path());
        assert_eq!(limit(), None);
        write("proc/meminfo", "MemTotal:  1048576 kB\n");
        assert_eq!(limit(), Some(1 << 30));
        write("proc/self/cgroup", "0::/system.slice/towlined.service\n");
        let group = "sys/fs/cgroup/system.slice";
        write(&format!("{group}/towlined.service/memory.max"), "max\n");
        assert_eq!(limit(), Some(1 << 30));
        write(&format!("{group}/memory.max"), "67108864\n");
        assert_eq!(limit(), Some(64 << 20));
        write("proc/self/cgroup", "5:cpu:/a\n4:memory:/docker/abc\n0::/\n");
        write(
            "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes",
            "33554432\n",
        );
        assert_eq!(limit(), Some(32 << 20));
    }
}
