//! Rules that look at one file's lines.
//!
//! Invariant: each rule is one function from a source to findings. Not promised: a parser; string
//! literals that look like code may have to be written differently.

use super::{Finding, Source};

/// Most characters in a line.
const WIDTH_MAX: usize = 100;
/// Most production lines in a file before a warning.
const FILE_LINES_AIM: usize = 500;
/// Most production lines in a file at all: a reader loses the thread in more.
const FILE_LINES_MAX: usize = 800;
/// Most lines from `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;
/// Fewest words in a file's header: what it is, what it keeps, what it does not promise.
const HEADER_WORDS_MIN: usize = 20;
/// Fewest words in the doc of a limit: the unit and the reason.
const LIMIT_WORDS_MIN: usize = 5;
/// Fields a log line may carry, so that one query finds them everywhere.
const LOG_FIELDS: [&str; 11] = [
    "volume",
    "chunk",
    "peer",
    "conn",
    "proc",
    "job",
    "node",
    "offset",
    "bytes",
    "elapsed_us",
    "error",
];

/// The one rule that only warns.
pub(super) const FILE_LENGTH_WARNING: &str = "file-length-warning";

/// All rules of this file.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    if source
        .lines
        .first()
        .is_some_and(|line| line.contains("@generated"))
    {
        return Vec::new();
    }
    let rules: [fn(&Source) -> Vec<Finding>; 12] = [
        width,
        file_length,
        function_length,
        header,
        forbid_unsafe,
        safety,
        allow_reason,
        leftovers,
        limit_reason,
        rfc_source,
        errno_match,
        log_field,
    ];
    rules.iter().flat_map(|rule| rule(source)).collect()
}

fn each_line(lines: &[String]) -> impl Iterator<Item = (usize, &str)> {
    lines
        .iter()
        .enumerate()
        .map(|(index, line)| (index + 1, line.as_str()))
}

fn width(source: &Source) -> Vec<Finding> {
    let is_lone_url = |line: &str| {
        let text = line.trim_start_matches(['/', '!', ' ', '<']);
        text.starts_with("http") && !text.contains(' ')
    };
    each_line(&source.lines)
        .filter(|(_, line)| line.chars().count() > WIDTH_MAX && !is_lone_url(line))
        .map(|(number, _)| source.finding(number, "width", "at most 100 columns"))
        .collect()
}

fn file_length(source: &Source) -> Vec<Finding> {
    let length = source.production().len();
    if length <= FILE_LINES_AIM || source.is_test() {
        return Vec::new();
    }
    let rule = if length > FILE_LINES_MAX {
        "file-length"
    } else {
        FILE_LENGTH_WARNING
    };
    let advice = format!("{length} production lines: split by concept, aim at {FILE_LINES_AIM}");
    vec![Finding {
        number: Some(length),
        ..source.finding(1, rule, advice)
    }]
}

fn function_length(source: &Source) -> Vec<Finding> {
    if source.is_test() {
        return Vec::new();
    }
    let lines = source.production();
    let mut findings = Vec::new();
    for (start, line) in each_line(lines).filter(|(_, line)| is_function(line)) {
        let indent = line.len() - line.trim_start().len();
        let closing = format!("{}}}", " ".repeat(indent));
        let body = lines.get(start..).unwrap_or_default();
        let opens = line.ends_with('{') || body.iter().any(|line| line.trim_end().ends_with('{'));
        let Some(end) = body.iter().position(|line| *line == closing) else {
            continue;
        };
        let length = end + 2;
        if opens && !line.ends_with(';') && length > FUNCTION_LINES_MAX {
            let advice = format!("{length} lines: at most {FUNCTION_LINES_MAX}");
            let finding = source.finding(start, "function-length", advice);
            findings.push(Finding {
                number: Some(length),
                ..finding
            });
        }
    }
    findings
}

fn is_function(line: &str) -> bool {
    let mut words = line.split_whitespace().peekable();
    while let Some(word) = words.next() {
        match word {
            "fn" => return words.peek().is_some() && !line.trim_end().ends_with('}'),
            "const" | "async" | "unsafe" | "extern" | "\"C\"" => {}
            _ if word.starts_with("pub") || word.ends_with(')') => {}
            _ => return false,
        }
    }
    false
}

fn header(source: &Source) -> Vec<Finding> {
    let words: usize = source
        .lines
        .iter()
        .take_while(|line| line.starts_with("//!"))
        .map(|line| line.trim_start_matches("//!").split_whitespace().count())
        .sum();
    let wanted = if source.is_test() {
        1
    } else {
        HEADER_WORDS_MIN
    };
    if words >= wanted {
        return Vec::new();
    }
    let advice = "begin with //!: what it is, the invariant it keeps, what it does not promise";
    vec![source.finding(1, "header", advice)]
}

fn forbid_unsafe(source: &Source) -> Vec<Finding> {
    let path = source.path.as_str();
    let root =
        path.ends_with("src/lib.rs") || path.ends_with("src/main.rs") || path.contains("src/bin/");
    let has = |wanted: &str| source.lines.iter().any(|line| line == wanted);
    if !root || has("#![forbid(unsafe_code)]") || path.starts_with("daemon/sys/") {
        return Vec::new();
    }
    vec![source.finding(
        1,
        "forbid-unsafe",
        "add #![forbid(unsafe_code)]: daemon/sys has the unsafe",
    )]
}

fn safety(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !source.path.starts_with("daemon/sys/") {
        // Every other crate forbids unsafe code; one module more could be let in by an attribute.
        let opens = |line: &str| {
            let code = line.trim_start();
            code == "unsafe_code," || code.starts_with('#') && code.contains("(unsafe_code,")
        };
        if let Some((number, _)) = each_line(&source.lines).find(|(_, line)| opens(line)) {
            findings.push(source.finding(number, "safety", "unsafe code is daemon/sys's alone"));
        }
        return findings;
    }
    for (number, line) in each_line(&source.lines) {
        let code = line.trim_start();
        let has =
            code.starts_with("unsafe ") || code.contains(" unsafe {") || code.contains("(unsafe {");
        if !has
            || code.starts_with("//")
            || code.starts_with("unsafe fn")
            || code.starts_with("unsafe extern")
        {
            continue;
        }
        let from = number.saturating_sub(12);
        let above = source.lines.get(from..number - 1).unwrap_or_default();
        if !above.iter().any(|line| line.contains("SAFETY:")) {
            findings.push(source.finding(number, "safety", "say above which fact makes it sound"));
        }
    }
    findings
}

fn allow_reason(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in each_line(&source.lines) {
        let code = line.trim_start();
        let starts = ["#[allow(", "#![allow(", "#[expect(", "#![expect("];
        if !starts.iter().any(|start| code.starts_with(start)) {
            continue;
        }
        let rest = source.lines.get(number - 1..).unwrap_or_default();
        let end = rest
            .iter()
            .position(|line| line.contains(")]"))
            .unwrap_or(0);
        if !rest
            .iter()
            .take(end + 1)
            .any(|line| line.contains("reason = \""))
        {
            findings.push(source.finding(number, "allow-reason", "add reason = \"...\""));
        }
    }
    findings
}

fn leftovers(source: &Source) -> Vec<Finding> {
    let code_starts = [
        "let ", "if ", "for ", "while ", "return ", "use ", "pub ", "fn ", "match ",
    ];
    let mut findings = Vec::new();
    for (number, line) in each_line(&source.lines) {
        let code = line.trim_start();
        // Written in pieces so that this file does not find itself.
        let marks = [
            concat!("FIX", "ME"),
            concat!("dbg", "!("),
            concat!("todo", "!("),
        ];
        if marks.iter().any(|mark| code.contains(mark)) {
            findings.push(source.finding(number, "leftovers", "finish it or file an issue"));
        }
        let comment = code.strip_prefix("// ").unwrap_or_default();
        let ends_like_code = comment.ends_with(';') || comment.ends_with('{');
        if ends_like_code && code_starts.iter().any(|start| comment.starts_with(start)) {
            findings.push(source.finding(number, "leftovers", "remove the commented-out code"));
        }
    }
    findings
}

fn limit_reason(source: &Source) -> Vec<Finding> {
    let all = source.path.ends_with("/limits.rs");
    let mut findings = Vec::new();
    for (number, line) in each_line(source.production()) {
        let code = line
            .trim_start()
            .trim_start_matches("pub ")
            .trim_start_matches("pub(crate) ");
        let code = code.trim_start_matches("pub(super) ");
        let Some((name, _)) = code
            .strip_prefix("const ")
            .and_then(|rest| rest.split_once(':'))
        else {
            continue;
        };
        if !all && !name.ends_with("_MAX") {
            continue;
        }
        let above = source.lines.get(..number - 1).unwrap_or_default();
        let documented = above.iter().rev().take_while(|line| is_doc(line));
        let words: usize = documented
            .map(|line| line.split_whitespace().count() - 1)
            .sum();
        if words < LIMIT_WORDS_MIN {
            let advice = format!("{name} needs a doc with its unit and its reason");
            findings.push(source.finding(number, "limit-reason", advice));
        }
    }
    findings
}

fn is_doc(line: &str) -> bool {
    let code = line.trim_start();
    (code.starts_with("//") && !code.starts_with("//!")) || code.starts_with("#[")
}

fn rfc_source(source: &Source) -> Vec<Finding> {
    // The parts of the NFS crate that speak the wire; the rest has limits and names of its own.
    let wire = ["rpc", "xdr", "v3", "v4", "mount", "portmap"];
    let part = source
        .path
        .strip_prefix("daemon/nfs/src/")
        .unwrap_or_default();
    let part = part.split(['/', '.']).next().unwrap_or_default();
    if !wire.contains(&part) || source.is_test() {
        return Vec::new();
    }
    let production = source.production();
    let is_constant = |line: &str| line.starts_with("pub const ") || line.starts_with("const ");
    let first = each_line(production).find(|(_, line)| is_constant(line));
    let named = production
        .iter()
        .any(|line| line.contains("RFC ") || line.contains("rfc"));
    match first {
        Some((number, _)) if !named => {
            vec![source.finding(
                number,
                "rfc-source",
                "name the RFC and section of the constants",
            )]
        }
        Some(_) | None => Vec::new(),
    }
}

fn errno_match(source: &Source) -> Vec<Finding> {
    let is_mapping = source.path.starts_with("daemon/") && source.path.ends_with("/status.rs");
    if !is_mapping {
        return Vec::new();
    }
    let lines = source.production();
    let explained = |number: usize| {
        let above = number.checked_sub(2).and_then(|index| lines.get(index));
        above.is_some_and(|line| line.trim_start().starts_with("//"))
    };
    each_line(lines)
        .filter(|(number, line)| line.trim_start().starts_with("_ =>") && !explained(*number))
        .map(|(number, _)| {
            source.finding(
                number,
                "errno-match",
                "name every case, or say above why not",
            )
        })
        .collect()
}

fn log_field(source: &Source) -> Vec<Finding> {
    if source.is_test() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let mut inside = false;
    for (number, line) in each_line(source.production()) {
        let code = line.trim_start();
        let levels = ["trace!(", "debug!(", "info!(", "warn!(", "error!("];
        let starts = levels.iter().find_map(|level| code.split_once(level));
        let text = match starts {
            Some((before, after)) if before.is_empty() || before.ends_with("tracing::") => after,
            Some(_) => continue,
            None if inside => code,
            None => continue,
        };
        inside = !text.contains(')') || text.matches('(').count() >= text.matches(')').count();
        for part in text.split(',') {
            let name = part.trim().trim_start_matches(['%', '?']);
            let name = name
                .split([' ', '=', ')', '.', ';'])
                .next()
                .unwrap_or_default();
            let is_name = !name.is_empty()
                && name
                    .chars()
                    .all(|letter| letter.is_ascii_lowercase() || letter == '_');
            if is_name && !LOG_FIELDS.contains(&name) && !part.contains('"') {
                let advice = format!("`{name}` is no log field; use one of {LOG_FIELDS:?}");
                findings.push(source.finding(number, "log-field", advice));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> Vec<&'static str> {
        let header = "//! One two three four five six seven eight nine ten eleven twelve thirteen\n\
            //! fourteen fifteen sixteen seventeen eighteen nineteen twenty.\n";
        let source = Source::new(path, &format!("{header}{text}"));
        check(&source)
            .into_iter()
            .map(|finding| finding.rule)
            .collect()
    }

    #[test]
    fn a_function_of_seventy_lines_passes_and_one_more_fails() {
        let function = |lines: usize| format!("fn f() {{\n{}}}\n", "    x();\n".repeat(lines - 2));
        assert!(rules("a/src/b.rs", &function(70)).is_empty());
        assert_eq!(rules("a/src/b.rs", &function(71)), ["function-length"]);
    }

    #[test]
    fn a_file_of_eight_hundred_lines_passes_with_a_warning_and_one_more_fails() {
        let text = |lines: usize| "x();\n".repeat(lines - 2);
        assert!(rules("a/src/b.rs", &text(500)).is_empty());
        assert_eq!(rules("a/src/b.rs", &text(501)), [FILE_LENGTH_WARNING]);
        assert_eq!(rules("a/src/b.rs", &text(800)), [FILE_LENGTH_WARNING]);
        assert_eq!(rules("a/src/b.rs", &text(801)), ["file-length"]);
        let tests = format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", text(400), text(400));
        assert!(rules("a/src/b.rs", &tests).is_empty());
    }

    #[test]
    fn a_line_of_a_hundred_columns_passes_and_one_more_fails() {
        assert!(rules("a/src/b.rs", &"é".repeat(100)).is_empty());
        assert_eq!(rules("a/src/b.rs", &"é".repeat(101)), ["width"]);
        assert!(rules("a/src/b.rs", &format!("// https://{}", "e".repeat(101))).is_empty());
    }

    #[test]
    fn each_line_rule_finds_its_fault() {
        for (path, text, rule) in [
            ("a/src/lib.rs", "", "forbid-unsafe"),
            ("daemon/sys/src/b.rs", "let x = unsafe { y() };", "safety"),
            (
                "tuning/src/b.rs",
                "#![allow(\n    unsafe_code,\n    reason = \"x\"\n)]",
                "safety",
            ),
            ("a/src/b.rs", "#[allow(dead_code)]", "allow-reason"),
            ("a/src/b.rs", "// let x = y;", "leftovers"),
            ("a/src/b.rs", "const QUEUE_MAX: usize = 4;", "limit-reason"),
            (
                "daemon/nfs/src/rpc/b.rs",
                "const PROGRAM: u32 = 100_003;",
                "rfc-source",
            ),
            (
                "daemon/nfs/src/status.rs",
                "match x {\n    _ => 5,",
                "errno-match",
            ),
            (
                "a/src/b.rs",
                "    warn!(colour = 3, \"slow\");",
                "log-field",
            ),
        ] {
            assert_eq!(rules(path, text), [rule], "{text}");
        }
    }

    #[test]
    fn each_line_rule_accepts_what_it_should() {
        for (path, text) in [
            (
                "daemon/sys/src/lib.rs",
                "// SAFETY: y has no precondition.\nlet x = unsafe { y() };",
            ),
            (
                "a/src/b.rs",
                "#[expect(dead_code, reason = \"the kernel reads it\")]",
            ),
            ("a/src/b.rs", "// let us see, said the fox;\n// for ever"),
            (
                "a/src/b.rs",
                "/// Entries, as a count; more would pass 1 MiB.\nconst Q_MAX: usize = 4;",
            ),
            (
                "daemon/nfs/src/rpc/b.rs",
                "/// RFC 1813 section 3.\nconst PROGRAM: u32 = 100_003;",
            ),
            (
                "a/src/b.rs",
                "    warn!(bytes = 3, %peer, error = %error, \"slow\");",
            ),
        ] {
            let found = rules(path, text);
            assert!(
                found
                    .iter()
                    .all(|rule| *rule == "leftovers" && text.contains("fox")),
                "{text}: {found:?}"
            );
        }
    }
}
