//! Manifests: no panic, and whatever is accepted is the one encoding of what it says, with paths
//! that are sorted, distinct and lead nowhere else.

#![no_main]

use libfuzzer_sys::fuzz_target;
use towline_store::manifest::{FILES_MAX, Manifest};

fuzz_target!(|data: &[u8]| {
    let Ok(manifest) = Manifest::decode(data) else {
        return;
    };
    assert_eq!(manifest.encode(), data, "two encodings of one manifest");
    assert!(manifest.files.len() <= FILES_MAX);
    let mut before = "";
    for file in &manifest.files {
        let path = file.path.as_str();
        assert!(before < path, "not sorted");
        assert!(!path.starts_with('/') && !path.contains('\\') && path.len() <= 1_024);
        assert!(path.split('/').all(|name| !matches!(name, "" | "." | "..")));
        before = path;
    }
    // What stands behind an accepted manifest does not panic either.
    let _ = (manifest.bytes(), manifest.trees().root());
});
