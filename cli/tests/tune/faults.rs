//! Planted faults in network namespaces: each is found by its id, repaired by `apply`, and the
//! former state is exactly restored by `revert`, by the timer, and after a kill -9.

use std::time::{Duration, Instant};

use crate::lab::Lab;

const PLANTED: [&str; 7] = [
    "link.mtu",
    "link.dup_ip",
    "nic.gro",
    "nic.tso",
    "sys.rp_filter",
    "sys.sack",
    "sys.window_scaling",
];

/// Plants all of [`PLANTED`] on the first host.
fn plant(lab: &Lab) {
    lab.join((0, "vc", "10.77.0.3/24"), (1, "vd", ""));
    lab.sysctl(0, "net.ipv4.conf.va.rp_filter=1");
    lab.sysctl(0, "net.ipv4.tcp_sack=0");
    lab.sysctl(0, "net.ipv4.tcp_window_scaling=0");
    if crate::lab::has("ethtool") {
        lab.exec(0, "ethtool -K va gro off tso off");
    }
}

fn planted() -> Vec<&'static str> {
    let with = crate::lab::has("ethtool");
    let kept = PLANTED
        .into_iter()
        .filter(|id| with || !matches!(*id, "nic.gro" | "nic.tso"));
    kept.collect()
}

#[test]
fn planted_faults_are_found_repaired_and_restored() {
    let Some(lab) = Lab::pair() else { return };
    plant(&lab);
    let before = lab.whole(0);
    let ids = planted();
    let failed = lab.ids(0, "--interface va", "fail");
    for id in &ids {
        assert!(
            failed.iter().any(|found| found == id),
            "{id} not in {failed:?}"
        );
    }
    assert_eq!(lab.whole(0), before, "a check changes nothing");

    let line = format!(
        "apply {} --interface va --runtime-only --yes",
        ids.join(" ")
    );
    lab.expect(0, &format!("{line} --dry-run"), 1);
    assert_eq!(lab.whole(0), before, "a dry run changes nothing");
    lab.expect(0, &line, 0);
    lab.expect(0, "confirm", 0);
    let failed = lab.ids(0, "--interface va", "fail");
    for id in &ids {
        assert!(!failed.iter().any(|found| found == id), "{id} still fails");
    }
    assert_ne!(lab.whole(0), before);
    let again = lab.expect(0, &line, 0);
    assert!(again.contains("nothing to change"), "{again}");

    lab.expect(0, "revert", 0);
    assert_eq!(lab.whole(0), before, "exactly as before");
    let history = lab.expect(0, "history", 0);
    assert!(
        history.contains("taken back") && !history.contains("stands"),
        "{history}"
    );
}

#[test]
fn two_applies_are_undone_to_the_first_state() {
    let Some(lab) = Lab::pair() else { return };
    plant(&lab);
    let before = lab.whole(0);
    lab.expect(0, "apply sys.sack --interface va --runtime-only --yes", 0);
    let between = lab.whole(0);
    lab.expect(
        0,
        "apply sys.window_scaling --interface va --runtime-only --yes",
        0,
    );
    let history = lab.expect(0, "history", 0);
    let second = history
        .lines()
        .nth(2)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    lab.expect(0, &format!("revert {second}"), 0);
    assert_eq!(lab.whole(0), between);
    lab.expect(
        0,
        "apply sys.window_scaling --interface va --runtime-only --yes",
        0,
    );
    lab.expect(0, "revert", 0);
    assert_eq!(lab.whole(0), before);
}

#[test]
fn what_was_kept_over_a_reboot_can_still_be_taken_back() {
    let Some(lab) = Lab::pair() else { return };
    lab.sysctl(0, "net.ipv4.tcp_sack=0");
    lab.sysctl(0, "net.ipv4.tcp_window_scaling=0");
    let line = "apply sys.sack sys.window_scaling --interface va --runtime-only --yes";
    lab.expect(0, line, 0);
    // Another boot: one of the values was kept, the other came up with something else.
    let entries = std::fs::read_dir(lab.state.path()).unwrap();
    let mut paths = entries.map(|entry| entry.unwrap().path());
    let snapshot = paths
        .find(|path| path.extension().is_some_and(|it| it == "json"))
        .unwrap();
    let mut value: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&snapshot).unwrap()).unwrap();
    value["boot"] = "an earlier boot".into();
    std::fs::write(&snapshot, value.to_string()).unwrap();
    lab.sysctl(0, "net.ipv4.tcp_window_scaling=0");
    lab.expect(0, "revert", 0);
    assert_eq!(lab.exec(0, "sysctl -n net.ipv4.tcp_sack").trim(), "0");
    assert!(lab.expect(0, "history", 0).contains("taken back"));
}

#[test]
fn what_nobody_confirms_is_put_back_by_itself() {
    let Some(lab) = Lab::pair() else { return };
    let before = lab.whole(0);
    let line = "apply link.mtu --interface va --runtime-only --yes --confirm-within 5";
    lab.expect(0, line, 0);
    assert!(lab.ip(0, "link show va").contains("mtu 9000"));
    let until = Instant::now() + Duration::from_secs(15);
    while lab.whole(0) != before {
        assert!(Instant::now() < until, "still not put back");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(lab.expect(0, "history", 0).contains("taken back"));
    lab.expect(0, "confirm", 2);
}

#[test]
fn a_change_that_is_refused_takes_everything_back() {
    let Some(lab) = Lab::pair() else { return };
    // A veth takes no MTU above 65,535 less its header, but the planted peer MTU is fine; so the
    // refusal comes from congestion control, which a namespace may not choose freely.
    lab.sysctl(0, "net.ipv4.tcp_sack=0");
    let before = lab.whole(0);
    let output = lab.tune(
        0,
        "apply sys.sack sys.cc --interface va --runtime-only --yes",
    );
    if output.status.success() {
        crate::lab::left_out("this kernel lets a namespace choose its congestion control");
        return;
    }
    assert_eq!(output.status.code(), Some(2));
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(why.contains("everything was put back"), "{why}");
    assert_eq!(lab.whole(0), before);
}

#[test]
fn a_killed_apply_is_put_back_at_the_next_call() {
    /// Runs until a kill hits the middle: the writes take some milliseconds in all.
    const TRIES: u64 = 60;
    let Some(lab) = Lab::pair() else { return };
    plant(&lab);
    let before = lab.whole(0);
    let line = format!(
        "apply {} --interface va --runtime-only --yes",
        planted().join(" ")
    );
    let mut interrupted = 0;
    for attempt in 0..TRIES {
        let known = lab.snapshots();
        let mut child = lab
            .command(0, &line)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        while lab.snapshots() == known && Instant::now() < until {
            std::hint::spin_loop();
        }
        // A little later with every try, until a kill falls between two writes.
        std::thread::sleep(Duration::from_micros(150 * attempt));
        // `ip netns exec` becomes the program itself: this is the kill of apply.
        child.kill().unwrap();
        child.wait().unwrap();
        let history = lab.expect(0, "history", 0);
        let hit = history.contains("interrupted");
        interrupted += usize::from(hit && lab.whole(0) != before);
        lab.expect(0, "revert", 0);
        assert_eq!(lab.whole(0), before);
        if interrupted > 2 {
            return;
        }
    }
    assert!(interrupted > 0, "no kill hit the middle of an apply");
}

/// What a veth says of its speed is made up: nothing is found by it, and whoever knows tells it.
#[test]
fn an_invented_speed_is_no_speed_until_somebody_tells_one() {
    let Some(lab) = Lab::pair() else { return };
    let judged = |variable: &str, line: &str| {
        let mut command = lab.command(0, line);
        let output = command
            .env("TOWLINE_LINK_SPEED", variable)
            .output()
            .unwrap();
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let seen = |sheet: &serde_json::Value, id: &str| {
        let checks = sheet["checks"].as_array().unwrap();
        let found = checks.iter().find(|check| check["id"] == id).unwrap();
        (found["state"].clone(), found.to_string())
    };
    let source = |sheet: &serde_json::Value| {
        let links = sheet["facts"]["links"].as_array().unwrap();
        let link = links.iter().find(|link| link["name"] == "va").unwrap();
        link["modes"].to_string()
    };
    let sheet = judged("", "check --json --interface va");
    for id in ["link.speed", "link.mtu", "sys.tcp_rmem"] {
        let (state, told) = seen(&sheet, id);
        assert!(
            state == "unknown" && told.contains("speed unknown"),
            "{told}"
        );
    }
    assert!(
        source(&sheet).contains("\"speed_source\":\"invented\""),
        "{}",
        source(&sheet)
    );
    for (variable, option) in [("va=10G", ""), ("", " --link-speed 10G")] {
        let sheet = judged(variable, &format!("check --json --interface va{option}"));
        assert_eq!(seen(&sheet, "link.mtu").0, "fail");
        assert!(
            source(&sheet).contains("\"speed_source\":\"told\""),
            "{}",
            source(&sheet)
        );
    }
    let told = lab.expect(0, "check --link-speed va=fast", 64);
    assert!(told.contains("tap0=10G"), "{told}");
}

#[test]
fn an_mtu_mismatch_is_found_and_repaired() {
    let Some(mut lab) = Lab::pair() else { return };
    lab.ip(1, "link set vb mtu 9000");
    lab.answer(1);
    let failed = lab.ids(0, "--peer 10.77.0.2 --quick", "fail");
    assert!(
        failed.iter().any(|id| id == "e2e.mtu_mismatch"),
        "{failed:?}"
    );
    lab.expect(
        0,
        "apply e2e.mtu_mismatch --peer 10.77.0.2 --quick --runtime-only --yes",
        0,
    );
    lab.expect(0, "confirm", 0);
    let failed = lab.ids(0, "--peer 10.77.0.2 --quick", "fail");
    assert!(!failed.iter().any(|id| id.starts_with("e2e")), "{failed:?}");
}

/// Two hosts and a router between; the far link has an MTU of 1400.
fn narrow() -> Option<Lab> {
    let mut lab = Lab::of(3)?;
    lab.join((0, "va", "10.77.1.2/24"), (1, "ra", "10.77.1.1/24"));
    lab.join((1, "rb", "10.77.2.1/24"), (2, "vb", "10.77.2.2/24"));
    lab.sysctl(1, "net.ipv4.ip_forward=1");
    lab.ip(0, "route add default via 10.77.1.1");
    lab.ip(2, "route add default via 10.77.2.1");
    lab.ip(1, "link set rb mtu 1400");
    lab.answer(2);
    Some(lab)
}

#[test]
fn a_narrow_path_is_measured_and_is_no_black_hole_while_icmp_passes() {
    let Some(lab) = narrow() else { return };
    let failed = lab.ids(0, "--peer 10.77.2.2 --quick", "fail");
    assert!(failed.iter().any(|id| id == "e2e.pmtu_fwd"), "{failed:?}");
    assert!(
        !failed.iter().any(|id| id == "e2e.pmtu_blackhole"),
        "{failed:?}"
    );
    let told = lab.expect(0, "check --peer 10.77.2.2 --quick", 1);
    assert!(
        told.contains("e2e.pmtu_fwd (10.77.2.2): 1400 bytes"),
        "{told}"
    );
}

#[test]
fn a_black_hole_is_found() {
    let Some(lab) = narrow() else { return };
    // The router sends no packet of its own any more, so no ICMP error either.
    lab.ip(1, "rule add pref 10 iif lo blackhole");
    let failed = lab.ids(0, "--peer 10.77.2.2 --quick", "fail");
    for id in ["e2e.pmtu_fwd", "e2e.pmtu_blackhole"] {
        assert!(
            failed.iter().any(|found| found == id),
            "{id} not in {failed:?}"
        );
    }
}

#[test]
fn a_whole_measurement_gives_rates_round_trips_and_counters() {
    let Some(mut lab) = Lab::pair() else { return };
    lab.answer(1);
    let judged: Vec<String> = ["ok", "fail"]
        .into_iter()
        .flat_map(|state| lab.ids(0, "--peer 10.77.0.2", state))
        .collect();
    for id in [
        "e2e.throughput",
        "e2e.rtt",
        "e2e.rtt_loaded",
        "e2e.retrans",
        "e2e.cpu_bound",
    ] {
        assert!(
            judged.iter().any(|found| found == id),
            "{id} not in {judged:?}"
        );
    }
}

#[test]
fn strangers_are_not_answered() {
    let Some(mut lab) = Lab::pair() else { return };
    lab.answer(1);
    lab.ip(0, "addr flush dev va");
    lab.ip(0, "addr add 172.30.0.1/24 dev va");
    lab.ip(1, "addr add 172.30.0.2/24 dev vb");
    let told = lab.expect(0, "check --peer 172.30.0.2 --quick", 2);
    assert!(told.contains("does not answer"), "{told}");
}

#[test]
fn the_link_with_the_default_route_is_not_dropped_unless_forced() {
    let Some(lab) = Lab::pair() else { return };
    lab.ip(0, "route add default via 10.77.0.2");
    let line = "apply link.mtu --interface va --preset dual-10g --runtime-only --yes";
    let told = lab.expect(0, line, 0);
    assert!(told.contains("--force"), "{told}");
    assert!(lab.ip(0, "link show va").contains("mtu 1500"));
    lab.expect(0, &format!("{line} --force"), 0);
    assert!(lab.ip(0, "link show va").contains("mtu 9000"));
    lab.expect(0, "revert", 0);
}

#[test]
fn a_program_with_buffers_or_a_congestion_control_of_its_own_is_found() {
    let Some(mut lab) = Lab::pair() else { return };
    if !crate::lab::has("python3") {
        return crate::lab::left_out("no python3 here");
    }
    let passed = lab.ids(0, "--interface va", "ok");
    for id in ["app.rcvbuf", "app.cc_qdisc"] {
        assert!(passed.iter().any(|found| found == id), "{id}: {passed:?}");
    }
    lab.sysctl(0, "net.ipv4.tcp_congestion_control=reno");
    let bbr = lab.exec(0, "sysctl -n net.ipv4.tcp_allowed_congestion_control");
    lab.python(
        0,
        "import socket, time
wide = socket.socket(); wide.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
wide.bind(('', 5201)); wide.listen()
paced = socket.socket()
try: paced.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b'bbr')
except OSError: pass
paced.bind(('', 5202)); paced.listen()
print('!', flush=True); time.sleep(60)",
    );
    let told = lab.sentence(0, "check --interface va", 1);
    assert!(told.contains("listener on 5201: receive 2 MiB"), "{told}");
    if bbr.contains("bbr") {
        assert!(told.contains("such as the listener on 5202"), "{told}");
    }
}

#[test]
fn a_share_behind_a_closed_port_is_found_from_the_other_end() {
    let Some(mut lab) = Lab::pair() else { return };
    if !crate::lab::has("python3") {
        return crate::lab::left_out("no python3 here");
    }
    lab.answer(1);
    let listen = |more: &str| {
        format!(
            "import socket, time
listener = socket.socket(); {more}
listener.bind(('', 5201)); listener.listen()
print('!', flush=True); time.sleep(60)"
        )
    };
    // Named on every address, and open to its own host only: as a firewall does it.
    let closed = "listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'lo')";
    lab.python(1, &listen(closed));
    let line = "check --peer 10.77.0.2 --quick";
    let told = lab.expect(0, line, 1);
    assert!(
        told.contains("fw.ports") && told.contains("5201 closed"),
        "{told}"
    );
}

#[test]
fn the_link_of_the_operators_session_is_found_behind_sudo() {
    let Some(lab) = Lab::pair() else { return };
    let towline = env!("CARGO_BIN_EXE_towline");
    let state = lab.state.path().display();
    // As sudo does it: the shell has the variable, the program does not.
    let script = format!(
        "env -u SSH_CONNECTION {towline} tune apply link.mtu --interface va --dry-run --state \
         {state}\ntrue\n"
    );
    let path = lab.state.path().join("session.sh");
    std::fs::write(&path, script).unwrap();
    let line = |session: &str| format!("env SSH_CONNECTION={session} sh {}", path.display());
    let told = lab.exec(0, &line("none"));
    assert!(
        told.contains("ip link set va mtu 9000") && !told.contains("--force"),
        "{told}"
    );
    let session = path.with_extension("ssh");
    std::fs::write(
        &session,
        format!(
            "SSH_CONNECTION='10.77.0.2 5000 10.77.0.1 22' sh {}\n",
            path.display()
        ),
    )
    .unwrap();
    let told = lab.exec(0, &format!("sh {}", session.display()));
    assert!(
        told.contains("carries your session") && told.contains("--force"),
        "{told}"
    );
}
