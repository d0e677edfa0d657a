//! The verbs of `towline tune` beside check and apply: scripts, import, diff, bundle, persistence,
//! and what a check costs without root.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::lab::{Lab, has};

fn tune(line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_towline"))
        .arg("tune")
        .args(line.split(' '))
        .output()
        .unwrap()
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> String {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path.display().to_string()
}

#[test]
fn the_shell_scripts_pass_shellcheck() {
    if !has("shellcheck") {
        crate::lab::left_out("no shellcheck here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for system in ["linux", "macos"] {
        let script = tune(&format!("script {system} --peer 10.0.0.1")).stdout;
        let path = write(folder.path(), system, &script);
        let checked = Command::new("shellcheck").arg(&path).output().unwrap();
        let told = String::from_utf8_lossy(&checked.stdout);
        assert!(checked.status.success(), "{told}");
    }
}

#[test]
fn powershell_itself_takes_the_script_where_it_is_installed() {
    if !has("pwsh") {
        // Debian has no package of it. The grammar test of the crate (tests/powershell.rs) runs
        // everywhere; this one is the second opinion.
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = write(folder.path(), "tune.ps1", &tune("script windows").stdout);
    let parse = format!(
        "$e = $null; [void][System.Management.Automation.Language.Parser]::ParseFile('{script}', \
         [ref]$null, [ref]$e); exit $e.Count"
    );
    let output = Command::new("pwsh")
        .args(["-NoProfile", "-Command", &parse])
        .output()
        .unwrap();
    assert!(output.status.success());
}

/// What macOS' own programs do with the settings in question, kept in files.
const MACOS: [(&str, &str); 6] = [
    (
        "ifconfig",
        "case ${2:-} in
            mtu) echo \"$3\" > \"$STORE/mtu.$1\" ;;
            *) echo \"$1: flags=8863<UP> mtu $(cat \"$STORE/mtu.$1\")\"
               [ \"$1\" != bridge0 ] || printf '\\tmember: %s flags=3\\n' en2 en3 ;;
         esac",
    ),
    (
        "networksetup",
        "case $1 in
            -setMTU) [ \"$2\" != bridge0 ] && echo \"$3\" > \"$STORE/mtu.$2\" ;;
            *) printf '%s\\n' '(1) Thunderbolt Bridge' '(Device: bridge0)' '(2) Wi-Fi' ;;
         esac",
    ),
    (
        "sysctl",
        "case $1 in
            -n) cat \"$STORE/$2\" ;;
            -w) echo \"${2#*=}\" > \"$STORE/${2%%=*}\" ;;
         esac",
    ),
    ("route", "echo '  interface: bridge0'"),
    ("nfsstat", "echo /mnt/models from 10.0.0.1:/models"),
    ("ping", "[ \"$(cat \"$STORE/mtu.bridge0\")\" = 9000 ]"),
];

/// Of macOS there is only the shell script here: its programs are played by the ones above.
#[test]
fn the_macos_script_checks_applies_reverts_and_its_sheet_imports() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let programs = folder.path().join("bin");
    std::fs::create_dir_all(&store).unwrap();
    std::fs::create_dir_all(&programs).unwrap();
    for (name, text) in MACOS {
        let path = write(&programs, name, format!("#!/bin/sh\n{text}\n").as_bytes());
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(path, executable).unwrap();
    }
    let first = [
        ("mtu.bridge0", "1500"),
        ("mtu.en2", "1500"),
        ("mtu.en3", "1500"),
        ("kern.ipc.maxsockbuf", "6291456"),
        ("net.inet.tcp.autorcvbufmax", "4194304"),
        ("net.inet.tcp.autosndbufmax", "33554432"),
    ];
    for (name, value) in first {
        write(&store, name, format!("{value}\n").as_bytes());
    }
    let now = || -> Vec<String> {
        let read = |(name, _)| std::fs::read_to_string(store.join(name)).unwrap();
        let values = first.into_iter().map(read);
        values.map(|text| text.trim().to_owned()).collect()
    };
    let before = now();
    let script = tune("script macos --peer 10.0.0.1").stdout;
    let script = write(folder.path(), "tune.sh", &script);
    let path = std::env::var("PATH").unwrap();
    let run = |mode: &str| {
        let output = Command::new("sh")
            .args([&script, mode])
            .env("PATH", format!("{}:{path}", programs.display()))
            .env("STORE", &store)
            .env("TOWLINE_TUNE_FOLDER", folder.path().join("old values"))
            .output()
            .unwrap();
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{mode}: {why}");
        String::from_utf8(output.stdout).unwrap()
    };
    let judged = |sheet: &str| {
        let sheet = write(folder.path(), "sheet.json", sheet.as_bytes());
        let output = tune(&format!("import {sheet}"));
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (code, told) = judged(&run("check"));
    assert_eq!((code, now()), (Some(1), before.clone()), "{told}");
    for id in ["mac.mtu", "mac.sockbuf", "e2e.pmtu_fwd"] {
        assert!(told.contains(id), "{id} not in {told}");
    }
    run("apply");
    assert_eq!(
        now(),
        ["9000", "9000", "9000", "8388608", "16777216", "33554432"],
        "the bridge with its members, and nothing lowered"
    );
    let (code, told) = judged(&run("check"));
    assert_eq!(code, Some(0), "{told}");
    assert!(run("revert").contains("bridge0 -> 1500"));
    assert_eq!(now(), before);
    assert!(run("revert").contains("nothing stands"));
}

#[test]
fn the_linux_script_checks_applies_reverts_and_its_sheet_imports() {
    let Some(lab) = Lab::pair() else { return };
    if !has("ethtool") {
        crate::lab::left_out("no ethtool here");
        return;
    }
    lab.sysctl(0, "net.ipv4.tcp_sack=0");
    lab.exec(0, "ethtool -K va gro off");
    let before = lab.whole(0);
    let script = tune("script linux --peer 10.77.0.2").stdout;
    let script = write(lab.state.path(), "tune.sh", &script);
    let store = lab.state.path().join("old");
    let run = |mode: &str| {
        let store = format!("TOWLINE_TUNE_FOLDER={}", store.display());
        lab.exec(0, &format!("env {store} sh {script} {mode} va"))
    };
    let sheet = run("check");
    assert_eq!(lab.whole(0), before);
    let sheet = write(lab.state.path(), "sheet.json", sheet.as_bytes());
    let judged = tune(&format!("import {sheet}"));
    let told = String::from_utf8_lossy(&judged.stdout);
    assert_eq!(judged.status.code(), Some(1), "{told}");
    for id in ["sys.sack", "nic.gro", "link.mtu", "e2e.pmtu_fwd"] {
        assert!(told.contains(id), "{id} not in {told}");
    }
    run("apply");
    let sheet = write(lab.state.path(), "sheet.json", run("check").as_bytes());
    let told = tune(&format!("import {sheet}")).stdout;
    let told = String::from_utf8_lossy(&told);
    assert!(
        !told.contains("sys.sack") && !told.contains("nic.gro"),
        "{told}"
    );
    run("revert");
    assert_eq!(lab.whole(0), before);
}

#[test]
fn two_hosts_are_compared() {
    let Some(lab) = Lab::pair() else { return };
    lab.ip(1, "link set vb mtu 9000");
    lab.sysctl(1, "net.ipv4.tcp_sack=0");
    let sheet = |host: usize, name: &str| {
        let report = lab.tune(host, "check --json").stdout;
        write(lab.state.path(), name, &report)
    };
    let (first, second) = (sheet(0, "a.json"), sheet(1, "b.json"));
    let differ = tune(&format!("diff {first} {second}"));
    let told = String::from_utf8_lossy(&differ.stdout);
    assert_eq!(differ.status.code(), Some(1), "{told}");
    assert!(
        told.contains("mtu") && told.contains("net.ipv4.tcp_sack"),
        "{told}"
    );
    assert_eq!(
        tune(&format!("diff {first} {first}")).status.code(),
        Some(0)
    );
    assert_eq!(
        tune(&format!("diff {first} /nowhere")).status.code(),
        Some(2)
    );
}

#[test]
fn a_bundle_holds_no_address() {
    let Some(lab) = Lab::pair() else { return };
    let text = lab.expect(0, "bundle --output -", 0);
    for title in ["=== report", "=== facts", "=== tc -s qdisc"] {
        assert!(text.contains(title), "{title}");
    }
    let own = lab.ip(0, "-o link show va");
    let mac = own
        .split("link/ether ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    assert!(
        !text.contains("10.77.0.1") && !text.contains(mac),
        "an address is left"
    );
    let raw = lab.expect(0, "bundle --raw --output -", 0);
    assert!(raw.contains("10.77.0.1") && raw.contains(mac));
}

#[test]
fn what_stays_is_written_to_a_file_and_goes_with_the_revert() {
    let Some(lab) = Lab::pair() else { return };
    lab.sysctl(0, "net.ipv4.tcp_sack=0");
    // The mounts of `ip netns exec` are its own: the files land in memory and are gone after it.
    let towline = env!("CARGO_BIN_EXE_towline");
    let state = lab.state.path().display();
    let file = "/etc/sysctl.d/90-towline.conf";
    let script = write(
        lab.state.path(),
        "persist.sh",
        format!(
            "set -e\nmount -t tmpfs none /etc/sysctl.d\n\
             {towline} tune apply sys.sack --interface va --yes --state {state}\ncat {file}\n\
             {towline} tune revert --state {state}\ntest ! -e {file} && echo gone\n"
        )
        .as_bytes(),
    );
    let told = lab.exec(0, &format!("sh {script}"));
    assert!(
        told.contains("kept in /etc/sysctl.d/90-towline.conf"),
        "{told}"
    );
    assert!(
        told.contains("net.ipv4.tcp_sack = 1") && told.contains("gone"),
        "{told}"
    );
    assert!(!Path::new(file).exists());
}

#[test]
fn a_check_is_quick_small_and_says_what_root_would_add() {
    let Some(lab) = Lab::pair() else { return };
    if !has("setpriv") {
        crate::lab::left_out("no setpriv here");
        return;
    }
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    // Others must be able to reach the program.
    let program = folder.path().join("towline");
    std::fs::copy(env!("CARGO_BIN_EXE_towline"), &program).unwrap();
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), readable).unwrap();
    let begun = Instant::now();
    let mut child = Command::new("ip")
        .args([
            "netns",
            "exec",
            &lab.hosts[0],
            "setpriv",
            "--reuid",
            "65534",
            "--regid",
            "65534",
        ])
        .arg("--clear-groups")
        .arg(&program)
        .args(["tune", "check"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with("VmHWM"));
        let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        peak_kib = peak_kib.max(number.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(5));
    }
    let elapsed = begun.elapsed();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("as root also: "), "{told}");
    assert!(elapsed < Duration::from_secs(2), "{elapsed:?}");
    assert!(peak_kib > 0 && peak_kib < 50 << 10, "{peak_kib} KiB");
}

#[test]
fn a_clean_host_ends_with_zero_and_one_fault_with_one() {
    let Some(lab) = Lab::pair() else { return };
    if !has("ethtool") {
        crate::lab::left_out("no ethtool here");
        return;
    }
    lab.ip(0, "link set va mtu 9000");
    // The mounts are the script's own: what only the first namespace may set is laid over.
    let clean = "set -e
        echo 268435456 > /run/most; echo cubic > /run/name
        for key in rmem_max wmem_max; do mount --bind /run/most /proc/sys/net/core/$key; done
        mount --bind /run/name /proc/sys/net/ipv4/tcp_congestion_control
        sysctl -qw net.ipv4.tcp_mtu_probing=1
        ethtool -K va gro on";
    let towline = env!("CARGO_BIN_EXE_towline");
    let code = |fault: &str| {
        let text = format!(
            "mount -t tmpfs none /run\n{clean}\n{fault}\nset +e\n{towline} tune check --interface \
             va\necho code $?\n"
        );
        let script = write(lab.state.path(), "clean.sh", text.as_bytes());
        lab.exec(0, &format!("sh {script}"))
    };
    let told = code("");
    assert!(told.ends_with("code 0\n"), "{told}");
    let told = code("sysctl -qw net.ipv4.tcp_sack=0");
    assert!(
        told.ends_with("code 1\n") && told.contains("sys.sack"),
        "{told}"
    );
}

#[test]
fn nobody_who_can_type_yes_means_no_change() {
    let Some(lab) = Lab::pair() else { return };
    lab.sysctl(0, "net.ipv4.tcp_sack=0");
    let line = "apply sys.sack --interface va --runtime-only";
    let told = lab.expect(0, line, 2);
    assert!(
        told.contains("--yes") && told.contains("sys.sack"),
        "{told}"
    );
    assert_eq!(lab.snapshots(), 0);
    lab.expect(0, &format!("{line} --json"), 64);
    if !has("script") {
        crate::lab::left_out("no script(1) here");
        return;
    }
    // A terminal, and somebody who types.
    let towline = env!("CARGO_BIN_EXE_towline");
    let state = lab.state.path().display();
    let typed = |word: &str| {
        let text = format!(
            "echo {word} | script -qec '{towline} tune {line} --state {state}' /dev/null\n\
             sysctl -n net.ipv4.tcp_sack\n"
        );
        let script = write(lab.state.path(), "typed.sh", text.as_bytes());
        lab.exec(0, &format!("sh {script}"))
    };
    let told = typed("y");
    assert!(told.contains("type yes to make this change"), "{told}");
    assert!(
        told.contains("nothing was changed") && told.ends_with("0\n"),
        "{told}"
    );
    let told = typed("yes");
    assert!(
        told.contains("1 value changed") && told.ends_with("1\n"),
        "{told}"
    );
    let told = lab.expect(0, "revert --json", 0);
    assert!(told.contains("taken_back"), "{told}");
}

#[test]
fn an_mtu_is_planned_for_both_ends() {
    let Some(mut lab) = Lab::pair() else { return };
    lab.answer(1);
    let line = "apply link.mtu --peer 10.77.0.2 --quick --runtime-only";
    let told = lab.sentence(0, &format!("{line} --dry-run"), 1);
    for words in [
        "this plan alone leaves va at 9000 and vb of the peer at 1500",
        "1. the switch between",
        "3. on the peer 10.77.0.2: ip link set vb mtu 9000",
        "unless `towline tune confirm` comes within 60 s",
    ] {
        assert!(told.contains(words), "{words} not in {told}");
    }
    let json = lab.tune(0, &format!("{line} --yes --json")).stdout;
    let answer: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(answer["confirm_within_s"], 60);
    assert_eq!(answer["plan"]["steps"][0]["id"], "link.mtu");
    // One end has it: said, with the way out, until the other end follows.
    let told = lab.sentence(0, "check --peer 10.77.0.2 --quick", 1);
    assert!(told.contains("e2e.mtu_mismatch"), "{told}");
    assert!(
        told.contains("first the switch, then on 10.77.0.2"),
        "{told}"
    );
    lab.ip(1, "link set vb mtu 9000");
    let passed = lab.ids(0, "--peer 10.77.0.2 --quick", "ok");
    for id in ["e2e.mtu_mismatch", "e2e.pmtu_fwd", "e2e.pmtu_rev"] {
        assert!(passed.iter().any(|found| found == id), "{id} in {passed:?}");
    }
    lab.expect(0, "confirm --json", 0);
    lab.expect(0, "revert", 0);
}

#[test]
fn what_cannot_run_ends_with_two_and_wrong_usage_with_64() {
    assert_eq!(tune("check --interface nowhere0").status.code(), Some(2));
    assert_eq!(
        tune("apply no.such_check --dry-run --state /proc/nowhere")
            .status
            .code(),
        Some(2)
    );
    assert_eq!(tune("check --profile fast").status.code(), Some(64));
    assert_eq!(tune("script linux --peer $(reboot)").status.code(), Some(2));
}
