//! A Linux guest with the kernel's own NFS client, under qemu without hardware acceleration.
//!
//! A job is a shell script with files beside it. It reaches the guest as a tar archive on a raw
//! virtio disk, runs as root, and its output and exit code come back over a serial port. The
//! guest reaches this machine's loopback as 10.0.2.2. Invariant: a job ends within its limit; the
//! machine is killed by pid otherwise. Not promised: speed, which is that of an emulated
//! processor.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::process::{Running, command, must_run};

mod image;
mod programs;

use image::Image;
use programs::copy_with_libraries;

/// Where the guest finds services of this machine's loopback.
pub const HOST: &str = "10.0.2.2";
/// The line that ends a job's output.
const EXIT_LINE: &str = "guest-exit: ";
/// What the guest says on its console when the job begins.
const JOB_STARTS: &str = "guest: the job starts";
/// Longest time for booting, which takes 5 s on a quiet machine.
const BOOT_LIMIT: Duration = Duration::from_secs(90);
/// Longest time for packing a job.
const PACK_LIMIT: Duration = Duration::from_secs(60);
/// How long before its limit a guest tells on its console what it waits for.
const TELL_BEFORE: Duration = Duration::from_secs(30);
/// How often new output is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a guest does.
#[derive(Clone, Debug)]
pub struct Job {
    /// Run by the guest's shell in the directory that holds the files.
    pub script: String,
    /// Files of this machine and their names beside the script.
    pub files: Vec<(PathBuf, String)>,
    /// Programs of this machine; they lie in `/usr/bin` with the libraries they need.
    pub programs: Vec<PathBuf>,
    /// Everything, from the job's first line on.
    pub limit: Duration,
    /// Memory of the guest in MiB.
    pub memory_mib: u32,
}

impl Job {
    /// A job without files, with 1 GiB of memory.
    #[must_use]
    pub fn new(script: &str, limit: Duration) -> Self {
        Self {
            script: script.to_owned(),
            files: Vec::new(),
            programs: Vec::new(),
            limit,
            memory_mib: 1024,
        }
    }
}

/// What a finished job left.
#[derive(Clone, Debug)]
pub struct JobResult {
    /// Exit code of the script.
    pub exit_code: i32,
    /// Standard output and error of the script together.
    pub output: String,
    /// First line to end.
    pub elapsed: Duration,
}

/// A running guest.
#[derive(Debug)]
pub struct Guest {
    machine: Running,
    directory: TempDir,
    limit: Duration,
    started: Instant,
    _turn: Option<File>,
}

impl Guest {
    /// Boots the guest with `job`, building its image first when that is missing or out of date.
    ///
    /// # Errors
    /// Fails when qemu is not installed or the image cannot be built.
    pub fn start(job: &Job) -> Result<Self> {
        image::ensure()?;
        // Two emulated machines on two cores would only make each other miss their limits.
        let turn = File::create(crate::paths::target().join("guest/turn"))?;
        turn.lock().context("waiting for another guest")?;
        Self::boot(job, Some(turn))
    }

    /// Boots one more guest, for what takes two machines. Its turn is that of this one, which must
    /// outlive it.
    ///
    /// # Errors
    /// As [`Guest::start`].
    pub fn beside(&self, job: &Job) -> Result<Self> {
        Self::boot(job, None)
    }

    fn boot(job: &Job, turn: Option<File>) -> Result<Self> {
        let image = image::ensure()?;
        let directory = tempfile::tempdir()?;
        let disk = pack(job, directory.path())?;
        let place = directory.path();
        let machine = match boot(job, &image, &disk, place)? {
            Some(machine) => machine,
            // The emulator's fault: nothing of the job has run.
            None => boot(job, &image, &disk, place)?.with_context(|| {
                let console = std::fs::read(place.join("console")).unwrap_or_default();
                let console = String::from_utf8_lossy(&console).into_owned();
                format!("the guest did not boot in {BOOT_LIMIT:?}, twice:\n{console}")
            })?,
        };
        Ok(Self {
            machine,
            directory,
            limit: job.limit,
            started: Instant::now(),
            _turn: turn,
        })
    }

    /// What the job has written so far.
    ///
    /// # Errors
    /// Fails when the output file cannot be read.
    pub fn output(&self) -> Result<String> {
        self.file("output")
    }

    /// Waits until the job has written a line that begins with `prefix`; returns that line.
    ///
    /// # Errors
    /// Fails when the job ends or its limit passes first.
    pub fn wait_for_line(&mut self, prefix: &str) -> Result<String> {
        loop {
            let ended = self.machine.ended()?.is_some();
            let output = self.output()?;
            let complete = output.rfind('\n').map_or("", |end| &output[..end]);
            if let Some(line) = complete.lines().find(|line| line.starts_with(prefix)) {
                return Ok(line.to_owned());
            }
            ensure!(
                !ended,
                "the guest ended without saying {prefix:?}:\n{}",
                self.everything()
            );
            self.check_limit()?;
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits for the end of the job.
    ///
    /// # Errors
    /// Fails when the guest stops without an exit code or its limit passes.
    pub fn finish(mut self) -> Result<JobResult> {
        while self.machine.ended()?.is_none() {
            self.check_limit()?;
            std::thread::sleep(LOOK_EVERY);
        }
        let text = self.output()?;
        let Some((output, code)) = text.rsplit_once(EXIT_LINE) else {
            bail!(
                "the guest stopped without an exit code:\n{}",
                self.everything()
            );
        };
        let exit_code = code
            .trim()
            .parse()
            .with_context(|| format!("exit code {code:?}"))?;
        Ok(JobResult {
            exit_code,
            output: output.to_owned(),
            elapsed: self.started.elapsed(),
        })
    }

    fn check_limit(&self) -> Result<()> {
        let within = self.started.elapsed() < self.limit;
        ensure!(
            within,
            "the guest ran over {:?}:\n{}",
            self.limit,
            self.everything()
        );
        Ok(())
    }

    fn everything(&self) -> String {
        let part = |name| self.file(name).unwrap_or_default();
        let console = part("console");
        let tail = console.len().saturating_sub(16_000);
        let console = console.get(tail..).unwrap_or(&console);
        format!(
            "--- output\n{}\n--- console\n{console}\n--- qemu\n{}",
            part("output"),
            part("errors")
        )
    }

    fn file(&self, name: &str) -> Result<String> {
        let mut bytes = Vec::new();
        if let Ok(mut file) = File::open(self.directory.path().join(name)) {
            file.read_to_end(&mut bytes)?;
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Boots a guest, runs `job` and waits for its end.
///
/// # Errors
/// Fails when the guest cannot be booted or the limit passes; not when the script fails.
pub fn run(job: &Job) -> Result<JobResult> {
    Guest::start(job)?.finish()
}

/// Starts the emulator and waits until the job begins; `None` if that did not come.
fn boot(job: &Job, image: &Image, disk: &Path, place: &Path) -> Result<Option<Running>> {
    let started = Instant::now();
    let mut machine = Running::start(emulator(job, image, disk, place)?)
        .context("is qemu installed? apt-get install qemu-system-x86 seabios")?;
    while started.elapsed() < BOOT_LIMIT {
        let console = std::fs::read(place.join("console")).unwrap_or_default();
        let has_begun = String::from_utf8_lossy(&console).contains(JOB_STARTS);
        // One that has ended tells why when its job is waited for.
        if has_begun || machine.ended()?.is_some() {
            return Ok(Some(machine));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    machine.kill();
    Ok(None)
}

fn emulator(job: &Job, image: &Image, disk: &Path, place: &Path) -> Result<Command> {
    let mut machine = Command::new("qemu-system-x86_64");
    machine.args(["-machine", "q35", "-accel", "tcg,thread=multi"]);
    machine.args(["-cpu", "max", "-smp", "2"]);
    machine.args(["-m", &job.memory_mib.to_string()]);
    machine.args(["-nodefaults", "-no-reboot", "-display", "none"]);
    machine.args(["-monitor", "none"]);
    machine.arg("-kernel").arg(&image.kernel);
    machine.arg("-initrd").arg(&image.initramfs);
    let tell_after = job.limit.saturating_sub(TELL_BEFORE).as_secs();
    machine.arg("-append").arg(format!(
        "console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable TELL_AFTER={tell_after}"
    ));
    for name in ["console", "output"] {
        let serial = format!("file:{}", place.join(name).display());
        machine.arg("-serial").arg(serial);
    }
    let drive = format!("if=virtio,format=raw,readonly=on,file={}", disk.display());
    machine.arg("-drive").arg(drive);
    machine.args(["-netdev", "user,id=n0"]);
    machine.args(["-device", "virtio-net-pci,netdev=n0,romfile="]);
    machine
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(place.join("errors"))?);
    Ok(machine)
}

/// Makes the job's disk: a tar archive, padded to whole sectors.
fn pack(job: &Job, directory: &Path) -> Result<PathBuf> {
    let root = directory.join("job");
    std::fs::create_dir(&root)?;
    std::fs::write(root.join("job.sh"), &job.script)?;
    for (from, name) in &job.files {
        let to = root.join(name);
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::copy(from, &to).with_context(|| from.display().to_string())?;
    }
    for program in &job.programs {
        let name = program.file_name().context("program without a name")?;
        let place = Path::new("/usr/bin").join(name);
        copy_with_libraries(program, &root.join("programs"), &place, &[])?;
    }
    let disk = directory.join("job.tar");
    let mut tar = command("tar", &["-cf"]);
    tar.arg(&disk).arg("-C").arg(&root).arg(".");
    must_run(tar, PACK_LIMIT)?;
    let mut file = File::options().write(true).open(&disk)?;
    let length = file.seek(SeekFrom::End(0))?;
    file.set_len(length.next_multiple_of(512))?;
    Ok(disk)
}
