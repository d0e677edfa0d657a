//! Rules of TCP: windows, algorithms and the switches of old guides.
//!
//! Invariant: pure functions of the facts; a window that is larger than needed is never lowered.

use super::{Named, Rule, size_text};
use crate::case::{Case, Profile};
use crate::change::Fix;
use crate::formula::buffer_bytes;
use crate::verdict::{Judged, Verdict, not_here};

pub(super) const RULES: &[Named] = &[
    ("sys.tcp_rmem", Rule::Host(receive_window)),
    ("sys.tcp_wmem", Rule::Host(send_window)),
    ("sys.moderate_rcvbuf", Rule::Host(autotuning)),
    ("sys.window_scaling", Rule::Host(scaling)),
    ("sys.sack", Rule::Host(selective)),
    ("sys.timestamps", Rule::Host(timestamps)),
    ("sys.cc", Rule::Host(congestion_control)),
    ("sys.mtu_probing", Rule::Host(mtu_probing)),
    ("sys.slow_start_after_idle", Rule::Host(slow_start)),
    ("sys.notsent_lowat", Rule::Host(not_sent)),
    ("sys.tcp_metrics", Rule::Host(metrics)),
    ("sys.tcp_tw_reuse", Rule::Host(reuse)),
    ("sys.ip_local_port_range", Rule::Host(ports)),
    ("sys.tcp_mem_pressure", Rule::Host(pressure)),
];

/// A key that must have one value.
pub(super) fn must_be(case: &Case<'_>, key: &str, want: &str) -> Judged {
    let value = case.facts.sysctl(key)?;
    Ok(Verdict::new(value == want, value, want).fix(Fix::sysctl(key, want)))
}

/// A key that must have at least a value.
pub(super) fn at_least(case: &Case<'_>, key: &str, want: u64, unit: fn(u64) -> String) -> Judged {
    let value = case.facts.sysctl_number(key)?;
    Ok(Verdict::new(
        value >= want,
        unit(value),
        format!("{} or more", unit(want)),
    )
    .fix(Fix::sysctl(key, want.to_string())))
}

fn window(case: &Case<'_>, key: &str) -> Judged {
    let text = case.facts.sysctl(key)?;
    let parts: Vec<u64> = text
        .split_whitespace()
        .filter_map(|part| part.parse().ok())
        .collect();
    let [least, start, most] = parts[..] else {
        return Err(not_here(format!("{key} is {text:?}, not three numbers")));
    };
    let speed = case.speed_mbit()?;
    let rtt = case.rtt_ms();
    let need = buffer_bytes(&case.values.formula, speed, rtt);
    let row = case.values.row(speed);
    let wide = case.profile == Profile::Wan || rtt >= case.values.formula.wan_rtt_ms;
    let mib = if wide {
        row.tcp_max_wan_mib
    } else {
        row.tcp_max_mib
    };
    let proposed = (mib << 20).max(need);
    Ok(Verdict::new(
        most >= need,
        size_text(most),
        format!("{} or more at RTT {rtt:.2} ms", size_text(need)),
    )
    .fix(Fix::sysctl(key, format!("{least} {start} {proposed}")))
    .note("a program that sets SO_RCVBUF or SO_SNDBUF itself ends autotuning (iperf 463, 960)"))
}

fn receive_window(case: &Case<'_>) -> Judged {
    window(case, "net.ipv4.tcp_rmem")
}

fn send_window(case: &Case<'_>) -> Judged {
    window(case, "net.ipv4.tcp_wmem")
}

fn autotuning(case: &Case<'_>) -> Judged {
    must_be(case, "net.ipv4.tcp_moderate_rcvbuf", "1")
}

fn scaling(case: &Case<'_>) -> Judged {
    must_be(case, "net.ipv4.tcp_window_scaling", "1")
}

fn selective(case: &Case<'_>) -> Judged {
    must_be(case, "net.ipv4.tcp_sack", "1")
}

fn timestamps(case: &Case<'_>) -> Judged {
    let key = "net.ipv4.tcp_timestamps";
    let value = case.facts.sysctl(key)?;
    // 2 is on too, without a random offset.
    Ok(Verdict::new(value != "0", value, "1").fix(Fix::sysctl(key, "1")))
}

fn congestion_control(case: &Case<'_>) -> Judged {
    let key = "net.ipv4.tcp_congestion_control";
    let chosen = case.facts.sysctl(key)?;
    let listed_by = case
        .facts
        .sysctl("net.ipv4.tcp_available_congestion_control");
    let available = listed_by.ok();
    let knows =
        |wanted: &str| available.is_some_and(|list| list.split(' ').any(|name| name == wanted));
    let listed = knows(chosen);
    let far = case.profile == Profile::Wan || case.rtt_ms() >= case.values.formula.wan_rtt_ms;
    let fair = case.facts.sysctl("net.core.default_qdisc") == Ok("fq")
        || case
            .subjects
            .iter()
            .any(|link| link.qdiscs.iter().any(|kind| kind == "fq"));
    let read = format!("{chosen}{}", if fair { " over fq" } else { "" });
    let passed = match chosen {
        "bbr" => far && fair,
        "cubic" | "htcp" | "dctcp" => true,
        _ => false,
    };
    let want = if far {
        "cubic, or bbr with fq"
    } else {
        "cubic on a LAN"
    };
    let best = ["cubic", "reno"].into_iter().find(|name| knows(name));
    let verdict = Verdict::new(passed && (listed || available.is_none()), read, want);
    Ok(match best {
        // Where the kernel has nothing better, a person has to load a module.
        Some(best) if best != chosen => verdict.fix(Fix::sysctl(key, best)),
        _ => verdict.fix(Fix::hands("modprobe tcp_cubic")),
    })
}

fn mtu_probing(case: &Case<'_>) -> Judged {
    let key = "net.ipv4.tcp_mtu_probing";
    let value = case.facts.sysctl(key)?;
    let large = case
        .subjects
        .iter()
        .any(|link| link.mtu > 8000 && !link.is_loopback());
    if !large {
        return Ok(Verdict::report(value));
    }
    Ok(Verdict::new(value != "0", value, "1 with MTU above 8000").fix(Fix::sysctl(key, "1")))
}

fn slow_start(case: &Case<'_>) -> Judged {
    must_be(case, "net.ipv4.tcp_slow_start_after_idle", "0")
}

fn not_sent(case: &Case<'_>) -> Judged {
    let key = "net.ipv4.tcp_notsent_lowat";
    let value = case.facts.sysctl_number(key)?;
    if case.profile != Profile::Latency {
        return Ok(Verdict::report(value.to_string()));
    }
    let want = case.values.limits.notsent_lowat_bytes;
    Ok(
        Verdict::new(value <= want, value.to_string(), format!("at most {want}"))
            .fix(Fix::sysctl(key, want.to_string())),
    )
}

fn metrics(case: &Case<'_>) -> Judged {
    let value = case.facts.sysctl("net.ipv4.tcp_no_metrics_save")?;
    Ok(Verdict::report(value).note("1 while benchmarking, so that runs do not teach each other"))
}

fn reuse(case: &Case<'_>) -> Judged {
    Ok(Verdict::report(case.facts.sysctl("net.ipv4.tcp_tw_reuse")?))
}

fn ports(case: &Case<'_>) -> Judged {
    let range = case.facts.sysctl("net.ipv4.ip_local_port_range")?;
    Ok(Verdict::report(range))
}

fn pressure(case: &Case<'_>) -> Judged {
    if case.facts.window_ms == 0 {
        return Err(not_here("counters were read only once"));
    }
    let names = ["TCPMemoryPressures", "PruneCalled", "RcvCollapsed"];
    let grown: Vec<String> = names
        .iter()
        .filter_map(|name| {
            let delta = case.facts.counter_deltas.get(*name)?;
            (*delta > 0).then(|| format!("{name} +{delta}"))
        })
        .collect();
    let read = if grown.is_empty() {
        "+0".to_owned()
    } else {
        grown.join(", ")
    };
    Ok(
        Verdict::new(grown.is_empty(), read, "no growth").fix(Fix::hands(
            "raise net.ipv4.tcp_mem, or use less memory elsewhere",
        )),
    )
}
