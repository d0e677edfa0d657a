//! Rules of the programs on this host: what they set on their own sockets.
//!
//! A program that sets SO_RCVBUF ends the kernel's autotuning for that socket. The kernel does not
//! tell that it did, but a listener has exactly the start value otherwise, and no connection grows
//! beyond the maximum by itself (tcp(7)). Invariant: pure functions of the facts.

use super::{Named, Rule, size_text};
use crate::case::Case;
use crate::change::Fix;
use crate::facts::{LinkFacts, SocketFacts};
use crate::verdict::{Judged, Severity, State, Verdict, not_here};

pub(super) const RULES: &[Named] = &[
    ("app.rcvbuf", Rule::Host(fixed_buffers)),
    ("app.cc_qdisc", Rule::Link(pacing)),
];

/// Ports on which bulk data of towline and its peers goes: NFS, HTTP, iperf3.
const BULK_PORTS: [u16; 3] = [2049, 8420, 5201];

/// Sockets that are named in one finding.
const NAMED_MAX: usize = 4;

/// Start value and maximum of a socket buffer, from `tcp_rmem` or `tcp_wmem`.
fn bounds(case: &Case<'_>, key: &str) -> Result<(u64, u64), State> {
    let text = case.facts.sysctl(key)?;
    let numbers: Vec<u64> = text
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    match numbers[..] {
        [_, start, most] => Ok((start, most)),
        _ => Err(not_here(format!("{key} is {text:?}, not three numbers"))),
    }
}

fn is_bulk(socket: &SocketFacts) -> bool {
    BULK_PORTS.contains(&socket.port)
        || socket
            .peer_port
            .is_some_and(|port| BULK_PORTS.contains(&port))
}

fn name(socket: &SocketFacts) -> String {
    match socket.peer_port {
        None => format!("listener on {}", socket.port),
        Some(peer) => format!("connection {} to {peer}", socket.port),
    }
}

fn fixed_buffers(case: &Case<'_>) -> Judged {
    let sockets = case.facts.tcp_sockets.need()?;
    let (receive_start, receive_most) = bounds(case, "net.ipv4.tcp_rmem")?;
    let (_, send_most) = bounds(case, "net.ipv4.tcp_wmem")?;
    let fixed: Vec<(&SocketFacts, String)> = sockets
        .iter()
        .filter_map(|socket| {
            let receive = socket.receive_bytes > receive_most
                || socket.listening && socket.receive_bytes != receive_start;
            let what = if receive {
                format!("receive {}", size_text(socket.receive_bytes))
            } else if socket.send_bytes > send_most {
                format!("send {}", size_text(socket.send_bytes))
            } else {
                return None;
            };
            Some((socket, what))
        })
        .collect();
    let mut parts: Vec<String> = fixed
        .iter()
        .take(NAMED_MAX)
        .map(|(socket, what)| format!("{}: {what}", name(socket)))
        .collect();
    if fixed.len() > NAMED_MAX {
        parts.push(format!("and {} more", fixed.len() - NAMED_MAX));
    }
    if parts.is_empty() {
        parts.push(format!("none of {} sockets", sockets.len()));
    }
    // Somebody else's program on another port costs this host less than a slow share.
    let severity = if fixed.iter().any(|(socket, _)| is_bulk(socket)) {
        Severity::Error
    } else {
        Severity::Warning
    };
    Ok(Verdict::new(
        fixed.is_empty(),
        parts.join("; "),
        "no socket with a buffer of its own size",
    )
    .severity(severity)
    .fix(Fix::hands(
        "take SO_RCVBUF and SO_SNDBUF out of the program (iperf3 -w, socket options of samba and \
         rsync): the kernel's autotuning does better",
    ))
    .note("a listener that is older than the last change of tcp_rmem shows the old start value"))
}

fn pacing(case: &Case<'_>, link: &LinkFacts) -> Judged {
    let sockets = case.facts.tcp_sockets.need()?;
    if !(link.is_device() || link.kind == "veth") || link.qdiscs.is_empty() {
        return Err(not_here("the link has no queueing discipline of its own"));
    }
    let usual = case.facts.sysctl("net.ipv4.tcp_congestion_control").ok();
    let own = |socket: &&SocketFacts| {
        let name = socket.congestion_control.as_str();
        name.starts_with("bbr") && usual != Some(name)
    };
    let paced: Vec<&SocketFacts> = sockets.iter().filter(own).collect();
    let fair = link.qdiscs.iter().any(|kind| kind == "fq");
    let read = match paced.first() {
        None => "no program chooses bbr for itself".to_owned(),
        Some(first) => format!(
            "{} of {} sockets chose bbr, such as the {}; queue {}",
            paced.len(),
            sockets.len(),
            name(first),
            link.qdiscs.join(", ")
        ),
    };
    Ok(Verdict::new(
        paced.is_empty() || fair,
        read,
        "fq where a program uses bbr",
    )
    .fix(Fix::hands(format!(
        "io.congestion_control = \"auto\" for towline, or: tc qdisc replace dev {} root fq",
        link.name
    ))))
}
