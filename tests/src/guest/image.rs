//! Builds the guest's kernel and initial file system from Debian packages, once.
//!
//! Invariant: an image is used only when it was made from exactly the inputs wanted now (package
//! versions, programs, the init script, this recipe); the key file is written last. A lock keeps
//! two tests from building at once. Not promised: a guest with more than the programs listed here.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::programs::copy_with_libraries;
use crate::paths;
use crate::process::{command, must_run};

/// This file is an input of the image like any other.
const RECIPE: &str = include_str!("image.rs");
/// Packages whose files go into the guest; the kernel's is named by a meta package.
const PACKAGES: [&str; 11] = [
    "busybox-static",
    "nfs-common",
    "libtirpc3",
    "libtirpc-common",
    "libkeyutils1",
    "libnfsidmap1",
    "libevent-core-2.1-7",
    "libwrap0",
    "git",
    "nfs-kernel-server",
    "rpcbind",
];
/// The meta package that depends on the kernel's newest package.
const KERNEL: &str = "linux-image-cloud-amd64";
/// Modules, loaded or at hand in the guest.
const MODULES: [&str; 18] = [
    "virtio_pci",
    "virtio_net",
    "virtio_blk",
    "nfs",
    "nfsv3",
    "nfsv4",
    "nfsd",
    "bonding",
    "8021q",
    "bridge",
    "veth",
    "sch_fq",
    "tcp_bbr",
    "tls",
    "gcm",
    "ctr",
    "ghash_generic",
    "aesni_intel",
];
/// Programs from the packages, at the same places in the guest.
const PROGRAMS: [&str; 8] = [
    "/sbin/mount.nfs",
    "/sbin/umount.nfs",
    "/sbin/showmount",
    "/sbin/rpcbind",
    "/usr/sbin/exportfs",
    "/usr/sbin/rpc.mountd",
    "/usr/sbin/rpc.nfsd",
    "/usr/bin/git",
];
/// Version of the file system exerciser, from crates.io.
const FSX_VERSION: &str = "0.3.2";
/// Longest time for one step: a package mirror or a compiler may be slow.
const STEP_LIMIT: Duration = Duration::from_secs(600);

/// A bootable image.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) kernel: PathBuf,
    pub(super) initramfs: PathBuf,
}

/// Returns the image, building it when it is missing or out of date.
pub(super) fn ensure() -> Result<Image> {
    let directory = paths::target().join("guest");
    fs::create_dir_all(&directory)?;
    let lock = File::create(directory.join("lock"))?;
    lock.lock().context("lock of the guest image")?;
    let image = Image {
        kernel: directory.join("vmlinuz"),
        initramfs: directory.join("initramfs.cpio"),
    };
    let key_file = directory.join("key");
    let kernel_package = kernel_package()?;
    let key = key(&kernel_package)?;
    if fs::read_to_string(&key_file).is_ok_and(|found| found == key) {
        return Ok(image);
    }
    let _absent = fs::remove_file(&key_file);
    build(&directory, &kernel_package, &image)?;
    fs::write(&key_file, &key)?;
    Ok(image)
}

fn init_script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("guest/init")
}

fn key(kernel_package: &str) -> Result<String> {
    let mut policy = command("apt-cache", &["policy", kernel_package]);
    policy.args(PACKAGES);
    let mut hasher = blake3::Hasher::new();
    let candidates = String::from_utf8(must_run(policy, STEP_LIMIT)?)?;
    for line in candidates.lines().filter(|line| line.contains("Candidate")) {
        hasher.update(line.as_bytes());
    }
    hasher.update(&fs::read(init_script())?);
    hasher.update(format!("{RECIPE} {kernel_package}").as_bytes());
    Ok(hasher.finalize().to_hex().to_string())
}

fn kernel_package() -> Result<String> {
    let find = || -> Result<Option<String>> {
        let text = must_run(command("apt-cache", &["depends", KERNEL]), STEP_LIMIT)?;
        let text = String::from_utf8(text)?;
        let names = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "));
        Ok(names
            .map(str::to_owned)
            .find(|name| name.starts_with("linux-image-")))
    };
    if let Ok(Some(name)) = find() {
        return Ok(name);
    }
    must_run(command("apt-get", &["update", "-q"]), STEP_LIMIT)?;
    find()?.with_context(|| format!("the package lists have no kernel behind {KERNEL}"))
}

fn build(directory: &Path, kernel_package: &str, image: &Image) -> Result<()> {
    let (debs, unpacked, root) = (
        directory.join("debs"),
        directory.join("unpacked"),
        directory.join("root"),
    );
    for path in [&debs, &unpacked, &root] {
        let _absent = fs::remove_dir_all(path);
        fs::create_dir_all(path)?;
    }
    let mut download = command("apt-get", &["download", "-q", kernel_package]);
    download.args(PACKAGES).current_dir(&debs);
    must_run(download, STEP_LIMIT).context("apt-get update may be due")?;
    for package in fs::read_dir(&debs)? {
        let mut unpack = Command::new("dpkg");
        unpack.arg("-x").arg(package?.path()).arg(&unpacked);
        must_run(unpack, STEP_LIMIT)?;
    }
    let version = kernel_package.trim_start_matches("linux-image-");
    fs::copy(
        unpacked.join(format!("boot/vmlinuz-{version}")),
        &image.kernel,
    )?;
    copy_modules(&unpacked, &root, version)?;
    copy_programs(&unpacked, &root, directory)?;
    write_settings(&unpacked, &root)?;
    let mut archive = command(
        "sh",
        &["-c", "find . | cpio -o -H newc -R 0:0 --quiet > \"$0\""],
    );
    archive.arg(&image.initramfs).current_dir(&root);
    must_run(archive, STEP_LIMIT).context("cpio")?;
    for path in [&debs, &unpacked, &root] {
        fs::remove_dir_all(path)?;
    }
    Ok(())
}

fn copy_modules(unpacked: &Path, root: &Path, version: &str) -> Result<()> {
    must_run(depmod(unpacked, version), STEP_LIMIT)?;
    for module in MODULES {
        let mut show = command("/sbin/modprobe", &["--show-depends", "-S", version, "-d"]);
        show.arg(unpacked).arg(module);
        let text = String::from_utf8(must_run(show, STEP_LIMIT)?)?;
        for path in text.lines().filter_map(|line| line.strip_prefix("insmod ")) {
            // Behind the path come options that this machine sets.
            let path = Path::new(path.split_whitespace().next().unwrap_or(path));
            let place = path
                .strip_prefix(unpacked)
                .context("module outside of the package")?;
            let to = root.join(place);
            fs::create_dir_all(to.parent().context("module without a directory")?)?;
            fs::copy(path, &to)?;
        }
    }
    let lists = Path::new("lib/modules").join(version);
    for list in ["modules.order", "modules.builtin"] {
        fs::copy(
            unpacked.join(&lists).join(list),
            root.join(&lists).join(list),
        )?;
    }
    must_run(depmod(root, version), STEP_LIMIT)?;
    Ok(())
}

fn depmod(root: &Path, version: &str) -> Command {
    let mut depmod = command("/sbin/depmod", &["-b"]);
    depmod.arg(root).arg(version);
    depmod
}

fn copy_programs(unpacked: &Path, root: &Path, directory: &Path) -> Result<()> {
    let prefer = [
        unpacked.join("lib/x86_64-linux-gnu"),
        unpacked.join("usr/lib/x86_64-linux-gnu"),
    ];
    for place in PROGRAMS {
        let program = unpacked.join(place.trim_start_matches('/'));
        copy_with_libraries(&program, root, Path::new(place), &prefer)?;
    }
    copy_with_libraries(&fsx(directory)?, root, Path::new("/usr/bin/fsx"), &prefer)?;
    let busybox = root.join("bin/busybox");
    fs::create_dir_all(root.join("bin"))?;
    fs::copy(unpacked.join("bin/busybox"), busybox)?;
    // git looks for its parts there; those written in C are the one program under many names.
    let parts = root.join("usr/lib/git-core");
    fs::create_dir_all(&parts)?;
    for name in [
        "git",
        "git-upload-pack",
        "git-receive-pack",
        "git-index-pack",
        "git-fsck",
    ] {
        std::os::unix::fs::symlink("/usr/bin/git", parts.join(name))?;
    }
    fs::copy(init_script(), root.join("init"))?;
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(root.join("init"), executable)?;
    Ok(())
}

fn fsx(directory: &Path) -> Result<PathBuf> {
    let place = directory.join(format!("fsx-{FSX_VERSION}"));
    let program = place.join("bin/fsx");
    if !program.is_file() {
        let mut install = command("cargo", &["install", "fsx", "--locked", "--version"]);
        install
            .arg(FSX_VERSION)
            .arg("--root")
            .arg(&place)
            .current_dir(directory);
        must_run(install, STEP_LIMIT)?;
    }
    ensure!(
        program.is_file(),
        "cargo install made no {}",
        program.display()
    );
    Ok(program)
}

fn write_settings(unpacked: &Path, root: &Path) -> Result<()> {
    let etc = root.join("etc");
    fs::create_dir_all(&etc)?;
    fs::copy(unpacked.join("etc/netconfig"), etc.join("netconfig"))?;
    let files = [
        (
            "passwd",
            "root:x:0:0::/root:/bin/sh\n_rpc:x:107:107::/run:/bin/sh\n\
            alice:x:1000:1000::/tmp:/bin/sh\nbob:x:1001:1001::/tmp:/bin/sh\n",
        ),
        (
            "group",
            "root:x:0:\n_rpc:x:107:\nalice:x:1000:\nbob:x:1001:\nteam:x:2000:alice\n",
        ),
        ("hosts", "127.0.0.1 localhost\n10.0.2.2 node\n"),
        (
            "services",
            "sunrpc 111/tcp portmapper\nsunrpc 111/udp portmapper\nnfs 2049/tcp\n",
        ),
        ("rpc", "portmapper 100000\nnfs 100003\nmountd 100005\n"),
        ("protocols", "tcp 6 TCP\nudp 17 UDP\n"),
        (
            "nsswitch.conf",
            "passwd: files\ngroup: files\nhosts: files\n\
            services: files\nrpc: files\nprotocols: files\n",
        ),
        (
            "gitconfig",
            "[safe]\n\tdirectory = *\n[user]\n\tname = guest\n\temail = guest@localhost\n",
        ),
    ];
    for (name, text) in files {
        fs::write(etc.join(name), text)?;
    }
    for directory in [
        "proc",
        "sys",
        "dev",
        "tmp",
        "run",
        "root",
        "mnt",
        "job",
        "var/lib/nfs",
    ] {
        fs::create_dir_all(root.join(directory))?;
    }
    Ok(())
}
