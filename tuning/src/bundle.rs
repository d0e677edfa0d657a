//! Everything for a bug report in one text, with addresses and names replaced.
//!
//! Invariant: programs are started by name with fixed arguments, without a shell, and their output
//! is cut at a limit. Unless raw, every hardware and IP address and the host's name become
//! pseudonyms that are the same for the same address within one bundle. Not promised: that a name
//! which somebody wrote into an interface's alias is found.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};

use crate::facts::HostFacts;
use crate::report::Report;

/// Most bytes of one program's output.
const OUTPUT_BYTES_MAX: usize = 1 << 20;

/// What is asked about each link: as sos does, all reading only.
const OF_LINK: [&str; 12] = [
    "-a",
    "-c",
    "-d",
    "-g",
    "-i",
    "-k",
    "-l",
    "-m",
    "-P",
    "-S",
    "-T",
    "--show-priv-flags",
];

/// What is asked about the host.
const OF_HOST: [&[&str]; 6] = [
    &["ip", "-d", "-s", "link"],
    &["ip", "route"],
    &["ip", "rule"],
    &["ss", "-tieaonm"],
    &["nstat", "-zas"],
    &["tc", "-s", "qdisc"],
];

/// The text of a bundle.
#[must_use]
pub fn text(facts: &HostFacts, report: &Report, raw: bool) -> String {
    let mut text = format!("towline tune bundle, {}\n", env!("CARGO_PKG_VERSION"));
    let json = |value: Result<String, serde_json::Error>| {
        value.unwrap_or_else(|error| format!("cannot be shown: {error}"))
    };
    section(
        &mut text,
        "report",
        &json(serde_json::to_string_pretty(report)),
    );
    section(
        &mut text,
        "facts",
        &json(serde_json::to_string_pretty(facts)),
    );
    for command in OF_HOST {
        section(&mut text, &command.join(" "), &output(command));
    }
    for link in &report.links {
        for option in OF_LINK {
            let command = ["ethtool", option, link];
            section(&mut text, &command.join(" "), &output(&command));
        }
    }
    if raw {
        text
    } else {
        pseudonyms(&text, &facts.host)
    }
}

fn section(text: &mut String, title: &str, body: &str) {
    text.push_str(&format!("\n=== {title}\n{}\n", body.trim_end()));
}

fn output(command: &[&str]) -> String {
    let Some((program, arguments)) = command.split_first() else {
        return String::new();
    };
    let run = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    match run {
        Ok(mut output) => {
            if !output.status.success() {
                output.stdout.append(&mut output.stderr);
            }
            output.stdout.truncate(OUTPUT_BYTES_MAX);
            String::from_utf8_lossy(&output.stdout).into_owned()
        }
        Err(error) => format!("{program}: {error}"),
    }
}

/// Replaces addresses and the host's name.
#[must_use]
pub fn pseudonyms(text: &str, host: &str) -> String {
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_word) {
        out.push_str(&rest[..start]);
        let from = &rest[start..];
        let end = from.find(|letter| !is_word(letter)).unwrap_or(from.len());
        let word = &from[..end];
        if !host.is_empty() && word == host {
            out.push_str("this-host");
        } else {
            out.push_str(&replaced(word, &mut names));
        }
        rest = &from[end..];
    }
    out.push_str(rest);
    out
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, ':' | '.' | '-' | '_')
}

/// The word with the address in it replaced; `10.0.0.1:2049` keeps its port.
fn replaced(word: &str, names: &mut BTreeMap<String, String>) -> String {
    let trimmed = word.trim_end_matches([':', '.']);
    let tail = &word[trimmed.len()..];
    if let Some(name) = name_of(trimmed, names) {
        return name + tail;
    }
    // `fe80::` ends in the separator itself.
    if let Some(name) = name_of(word, names) {
        return name;
    }
    if let Some((address, port)) = trimmed.rsplit_once(':')
        && address.parse::<Ipv4Addr>().is_ok()
        && let Some(name) = name_of(address, names)
    {
        return format!("{name}:{port}{tail}");
    }
    word.to_owned()
}

fn name_of(word: &str, names: &mut BTreeMap<String, String>) -> Option<String> {
    let kind = if is_hardware(word) {
        "mac"
    } else {
        match word.parse::<IpAddr>() {
            // These tell nothing about anybody.
            Ok(address) if address.is_loopback() || address.is_unspecified() => return None,
            Ok(_) => "ip",
            Err(_) => return None,
        }
    };
    let number = names.len() + 1;
    let key = word.to_ascii_lowercase();
    let name = names
        .entry(key)
        .or_insert_with(|| format!("{kind}-{number}"));
    Some(name.clone())
}

/// Six octets or more in hexadecimal pairs (InfiniBand has twenty).
fn is_hardware(word: &str) -> bool {
    let parts: Vec<&str> = word.split(':').collect();
    let pair = |part: &&str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    parts.len() >= 6 && parts.iter().all(pair)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_pseudonyms_that_stay_the_same() {
        let text = "link/ether 02:fc:00:00:00:01 inet 10.1.2.3/24 peer 10.1.2.3:2049 at gpu7\n\
                    inet6 fe80::fc:ff:fe00:1/64, 127.0.0.1, kernel 6.12.0, 0000:3b:00.0 speed 8.0";
        assert_eq!(
            pseudonyms(text, "gpu7"),
            "link/ether mac-1 inet ip-2/24 peer ip-2:2049 at this-host\n\
             inet6 ip-3/64, 127.0.0.1, kernel 6.12.0, 0000:3b:00.0 speed 8.0"
        );
    }
}
