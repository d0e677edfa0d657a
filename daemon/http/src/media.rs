//! The media type of a file, told from its name, and what a browser may do with it.
//!
//! Governed by RFC 9110 section 8.3. Files come from many hands and are served from the same
//! origin as the node's pages, so what a browser would run (HTML, SVG, XML) is sandboxed.
//! Not promised: that the contents are what the name says.

use towline_base::Name;

/// What is said of a file whose name tells nothing.
pub const UNKNOWN: &str = "application/octet-stream";

/// The media type for a name.
#[must_use]
pub fn of(name: &Name) -> &'static str {
    let bytes = name.as_bytes();
    let extension = match bytes.iter().rposition(|byte| *byte == b'.') {
        Some(dot) if dot > 0 => bytes.get(dot + 1..).unwrap_or(&[]),
        _ => return UNKNOWN,
    };
    let Ok(extension) = std::str::from_utf8(extension) else {
        return UNKNOWN;
    };
    match extension {
        // Formats of models, which no registry of types knows.
        "safetensors" | "gguf" | "ggml" | "pt" | "pth" | "bin" | "ckpt" | "onnx" => UNKNOWN,
        "jsonl" | "ndjson" => "application/x-ndjson",
        "log" | "toml" | "yaml" | "yml" | "rs" | "py" | "sh" | "c" | "h" | "cpp" | "go" | "cfg"
        | "conf" | "ini" => "text/plain; charset=utf-8",
        "ts" => "text/plain; charset=utf-8",
        _ => match mime_guess::from_ext(extension).first_raw() {
            Some("text/html") => "text/html; charset=utf-8",
            Some("text/plain") => "text/plain; charset=utf-8",
            Some("text/markdown") => "text/markdown; charset=utf-8",
            Some(known) => known,
            None => UNKNOWN,
        },
    }
}

/// Whether a browser would run what is in it.
#[must_use]
pub fn is_active(media: &str) -> bool {
    media.starts_with("text/html") || media.contains("xml") || media.contains("svg")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_type() {
        let of = |name: &str| of(&Name::new(name.as_bytes()).unwrap());
        assert_eq!(of("a.json"), "application/json");
        assert_eq!(of("a.HTML"), "text/html; charset=utf-8");
        assert_eq!(of("model-00001.safetensors"), UNKNOWN);
        assert_eq!(of(".bashrc"), UNKNOWN);
        assert_eq!(of("README"), UNKNOWN);
        assert_eq!(of("a.png"), "image/png");
        assert!(is_active(of("x.svg")) && is_active(of("x.html")) && is_active(of("x.xhtml")));
        assert!(!is_active(of("x.txt")));
    }
}
