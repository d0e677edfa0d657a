//! A towline node under test: its own directory, its own ports, ready before the test goes on.
//!
//! Invariant: the node is killed by its own pid when dropped, and a restarted node has the same
//! data and the same ports. Ports come from below the range of outgoing connections and are tried
//! first, but another program may still take one: starting tries again with others. Not promised:
//! that port 111 is free for its port mapper.

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::paths;
use crate::process::Running;

/// How long a node may take until it is ready; restarts must take two seconds at most (M2), so
/// this only catches what hangs.
const READY_LIMIT: Duration = Duration::from_secs(20);
/// How long a node may take to drain.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);
/// How often readiness is asked for.
const ASK_EVERY: Duration = Duration::from_millis(10);
/// Ports given to nodes: above those of services, below those of outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..30_000;
/// Attempts at finding free ports.
const PORT_ATTEMPTS: usize = 5;

static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// What a node is started with.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Text of its configuration file; none is given when empty.
    pub configuration: String,
    /// More command line arguments.
    pub arguments: Vec<String>,
    /// A program with its arguments that starts the node in its own place, such as `prlimit`.
    pub wrapper: Vec<String>,
    /// Variables of its environment.
    pub environment: Vec<(String, String)>,
    /// Where its directory is made; the place for temporary files if not said.
    pub below: Option<PathBuf>,
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    process: Running,
    directory: TempDir,
    settings: Settings,
    http: SocketAddr,
    nfs: SocketAddr,
}

impl Node {
    /// Starts a node with default settings and waits until it is ready.
    ///
    /// # Errors
    /// Fails when the program is not built or does not become ready.
    pub fn start() -> Result<Self> {
        Self::start_with(Settings::default())
    }

    /// Starts a node with these settings and waits until it is ready.
    ///
    /// # Errors
    /// Fails when the program is not built or does not become ready.
    pub fn start_with(settings: Settings) -> Result<Self> {
        let mut last = None;
        for _attempt in 0..PORT_ATTEMPTS {
            match Self::start_once(settings.clone()) {
                Ok(node) => return Ok(node),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("no attempt was made")?)
    }

    fn start_once(settings: Settings) -> Result<Self> {
        let directory = match &settings.below {
            Some(below) => tempfile::tempdir_in(below)?,
            None => tempfile::tempdir()?,
        };
        // Callers of other uids must be able to reach their files.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
        for volume in ["models", "projects", "cache"] {
            let path = directory.path().join("data").join(volume);
            fs::create_dir_all(&path)?;
            fs::set_permissions(&path, Permissions::from_mode(0o777))?;
        }
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (http, nfs) = (local(free_port()?), local(free_port()?));
        let process = spawn(&directory, &settings, http, nfs)?;
        let mut node = Self {
            process,
            directory,
            settings,
            http,
            nfs,
        };
        node.wait_until_ready()?;
        Ok(node)
    }

    /// Address of HTTP.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Address of NFS and MOUNT.
    #[must_use]
    pub fn nfs(&self) -> SocketAddr {
        self.nfs
    }

    /// URL of a path in a volume.
    #[must_use]
    pub fn url(&self, volume: &str, path: &str) -> String {
        format!("http://{}/files/{volume}/{path}", self.http)
    }

    /// Directory of a volume.
    #[must_use]
    pub fn volume(&self, name: &str) -> PathBuf {
        self.directory.path().join("data").join(name)
    }

    /// A directory for the test's own files, next to the node's data.
    #[must_use]
    pub fn scratch(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Resident memory in bytes (proc(5), `VmRSS`).
    ///
    /// # Errors
    /// Fails when the node is gone.
    pub fn resident_bytes(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.pid());
        let text = fs::read_to_string(&path).context("the node is gone")?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kilobytes: u64 = kilobytes.context("no VmRSS")?.trim().parse()?;
        Ok(kilobytes * 1024)
    }

    /// Open descriptors.
    ///
    /// # Errors
    /// Fails when the node is gone.
    pub fn descriptors(&self) -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.pid()))?.count())
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM, and waits for the drain.
    ///
    /// # Errors
    /// Fails when the node does not end in time.
    pub fn drain(&mut self) -> Result<ExitStatus> {
        self.process.signal(Signal::TERM);
        self.process.wait(DRAIN_LIMIT)
    }

    /// Starts again after [`Node::kill`] or [`Node::drain`]: same data, same ports.
    ///
    /// # Errors
    /// Fails when it does not become ready.
    pub fn restart(&mut self) -> Result<()> {
        self.process = spawn(&self.directory, &self.settings, self.http, self.nfs)?;
        self.wait_until_ready()
    }

    /// Drains it and starts it again with another configuration: same data, same ports.
    ///
    /// # Errors
    /// Fails when it does not end or does not become ready.
    pub fn reconfigure(&mut self, configuration: &str) -> Result<()> {
        self.drain()?;
        self.settings.configuration = configuration.to_owned();
        self.restart()
    }

    /// Fails when the node has ended; says what it wrote last.
    ///
    /// # Errors
    /// That is its purpose.
    pub fn must_run(&mut self) -> Result<()> {
        if let Some(status) = self.process.ended()? {
            bail!("the node ended with {status}:\n{}", self.log());
        }
        Ok(())
    }

    /// What the node wrote so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < READY_LIMIT {
            if is_ready(self.http).unwrap_or(false) {
                return Ok(());
            }
            self.must_run()?;
            std::thread::sleep(ASK_EVERY);
        }
        bail!(
            "the node is not ready after {READY_LIMIT:?}:\n{}",
            self.log()
        )
    }
}

fn spawn(
    directory: &TempDir,
    settings: &Settings,
    http: SocketAddr,
    nfs: SocketAddr,
) -> Result<Running> {
    let towline = paths::program("towline")?;
    let mut command = match settings.wrapper.split_first() {
        None => Command::new(towline),
        Some((wrapper, arguments)) => {
            let mut command = Command::new(wrapper);
            command.args(arguments).arg(towline);
            command
        }
    };
    command
        .arg("up")
        .arg("--data")
        .arg(directory.path().join("data"));
    let configuration = with_engine(&settings.configuration);
    if !configuration.is_empty() {
        let file = directory.path().join("towline.toml");
        fs::write(&file, &configuration)?;
        command.arg("--config").arg(file);
    }
    command.args(["--http-port", &http.port().to_string()]);
    command.args(["--nfs-port", &nfs.port().to_string()]);
    command.args(&settings.arguments);
    command.envs(settings.environment.iter().cloned());
    let log = File::options()
        .create(true)
        .append(true)
        .open(directory.path().join("log"))?;
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    Running::start(command)
}

/// The configuration, with the engine that the variable TOWLINE_ENGINE names: so the same tests
/// run on each engine.
fn with_engine(configuration: &str) -> String {
    match std::env::var("TOWLINE_ENGINE") {
        Ok(_) if configuration.contains("engine = ") => configuration.to_owned(),
        Ok(engine) if configuration.contains("[io]\n") => {
            configuration.replacen("[io]\n", &format!("[io]\nengine = \"{engine}\"\n"), 1)
        }
        Ok(engine) => format!("{configuration}\n[io]\nengine = \"{engine}\"\n"),
        Err(_) => configuration.to_owned(),
    }
}

fn is_ready(address: SocketAddr) -> Result<bool> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(READY_LIMIT))?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(&head == b"HTTP/1.1 200")
}

/// A port that nobody listens on now.
/// A port that nobody listens on at this moment.
///
/// # Errors
/// Fails when none is found.
pub fn free_port() -> Result<u16> {
    let count = PORTS.end - PORTS.start;
    // Each test process begins elsewhere, so that two of them seldom try the same port.
    let own = (std::process::id() as u16).wrapping_mul(37) % count;
    for _attempt in 0..count {
        let step = NEXT_PORT.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + own.wrapping_add(step) % count;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port")
}
