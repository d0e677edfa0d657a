//! Cuts of files made here: headers understood, odd ones passed over, golden cuts of content.

use std::convert::Infallible;

use super::*;

fn planned(bytes: &[u8]) -> Plan {
    let read = |offset: u64, buffer: &mut [u8]| {
        let start = offset as usize;
        buffer.copy_from_slice(&bytes[start..start + buffer.len()]);
        Ok::<(), Infallible>(())
    };
    plan(bytes.len() as u64, read).unwrap()
}

fn spans(bytes: &[u8]) -> (Format, Vec<u32>) {
    match planned(bytes) {
        Plan::Spans { format, spans, .. } => {
            let sum: u64 = spans.iter().map(|span| u64::from(span.length)).sum();
            assert_eq!(sum, bytes.len() as u64, "the spans cover the file");
            (format, spans.iter().map(|span| span.length).collect())
        }
        Plan::Content => panic!("cut by content"),
    }
}

fn safetensors_file(tensors: &[(&str, usize)], extra: &str) -> Vec<u8> {
    let mut entries = Vec::new();
    let mut offset = 0;
    for (name, length) in tensors {
        let end = offset + length;
        entries.push(format!(
            "\"{name}\":{{\"dtype\":\"U8\",\"shape\":[{length}],\"data_offsets\":[{offset},{end}]}}"
        ));
        offset = end;
    }
    let json = format!("{{{}{extra}}}", entries.join(","));
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(json.as_bytes());
    bytes.extend((0..offset).map(|at| (at * 7 + at / 251) as u8));
    bytes
}

#[test]
fn safetensors_are_cut_at_tensors_in_steps_and_small_ones_packed() {
    let mib = 1 << 20;
    let tensors = [
        ("big", 9 * mib),
        ("a", 100_000),
        ("b", 200_000),
        ("zero", 0),
        ("edge", 256 << 10),
        ("c", 10),
    ];
    let bytes = safetensors_file(&tensors, "");
    let (format, lengths) = spans(&bytes);
    let header = 8 + u64::from_le_bytes(*bytes.first_chunk().unwrap()) as u32;
    assert_eq!(format, Format::Safetensors);
    let step = CHUNK_BYTES_MAX;
    let expected = [header, step, step, 1 << 20, 300_000, 256 << 10, 10];
    assert_eq!(lengths, expected);
    let Plan::Spans { tensors, spans, .. } = planned(&bytes) else {
        unreachable!()
    };
    assert!(spans[0].flags.header && spans[4].flags.packed && !spans[6].flags.packed);
    let places: Vec<_> = tensors
        .iter()
        .map(|tensor| (&*tensor.name, tensor.first_chunk, tensor.chunks))
        .collect();
    assert_eq!(
        places,
        [
            ("big", 1, 3),
            ("a", 4, 1),
            ("b", 4, 1),
            ("zero", 0, 0),
            ("edge", 5, 1),
            ("c", 6, 1)
        ]
    );
}

#[test]
fn runs_of_small_tensors_end_at_a_mebibyte() {
    let names: Vec<String> = (0..10).map(|index| format!("t{index}")).collect();
    let tensors: Vec<_> = names.iter().map(|name| (name.as_str(), 200_000)).collect();
    let (_, lengths) = spans(&safetensors_file(&tensors, ""));
    assert_eq!(lengths[1..], [1_000_000, 1_000_000]);
}

#[test]
fn a_header_that_lies_is_only_cut_in_a_plainer_way() {
    let good = safetensors_file(&[("a", 1000), ("b", 1000)], "");
    let text = String::from_utf8_lossy(&good[8..200]).into_owned();
    assert!(text.contains("[1000,2000]"));
    for (from, to) in [
        ("[1000,2000]", "[1000,2001]"),
        ("[1000,2000]", "[1001,2000]"),
        ("[1000,2000]", "[2000,1000]"),
        ("[1000,2000]", "[0999,2000]"),
        ("\"U8\"", "1234"),
        ("\"shape\"", "\"shapf\""),
    ] {
        let at = good
            .windows(from.len())
            .position(|part| part == from.as_bytes())
            .unwrap();
        let mut bad = good.clone();
        bad[at..at + to.len()].copy_from_slice(to.as_bytes());
        assert_eq!(spans(&bad).0, Format::Fixed, "{to}");
    }
    for length in [u64::MAX, good.len() as u64 - 7, HEADER_BYTES_MAX + 1, 1] {
        let mut bad = good.clone();
        bad[..8].copy_from_slice(&length.to_le_bytes());
        assert_eq!(spans(&bad).0, Format::Fixed, "{length}");
    }
}

fn gguf_file(tensors: &[(&str, u64)], size: usize) -> Vec<u8> {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    let text = |bytes: &mut Vec<u8>, text: &str| {
        bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    };
    bytes.extend_from_slice(&(tensors.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&3u64.to_le_bytes());
    text(&mut bytes, "general.alignment");
    bytes.extend_from_slice(&[4, 0, 0, 0, 64, 0, 0, 0]);
    text(&mut bytes, "tokens");
    bytes.extend_from_slice(&[9, 0, 0, 0, 8, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    text(&mut bytes, "one");
    text(&mut bytes, "two");
    text(&mut bytes, "scores");
    bytes.extend_from_slice(&[9, 0, 0, 0, 6, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend_from_slice(&[0; 8]);
    for (name, offset) in tensors {
        text(&mut bytes, name);
        bytes.extend_from_slice(&[1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(&offset.to_le_bytes());
    }
    bytes.resize(bytes.len().next_multiple_of(64) + size, 3);
    bytes
}

#[test]
fn gguf_is_cut_at_tensors_with_padding_before_the_next() {
    let bytes = gguf_file(&[("b", 320_000), ("a", 0), ("c", 5_120_000)], 5_120_100);
    let (format, lengths) = spans(&bytes);
    assert_eq!(format, Format::Gguf);
    assert_eq!(
        lengths[1..],
        [320_000, CHUNK_BYTES_MAX, 4_800_000 - CHUNK_BYTES_MAX, 100]
    );
    assert_eq!(lengths[0] % 64, 0);
}

#[test]
fn an_odd_gguf_header_is_only_cut_in_a_plainer_way() {
    for (tensors, size) in [
        (&[("a", 0), ("b", 0)][..], 100),
        (&[("a", 64)], 100),
        (&[("a", 0), ("b", 1000)], 100),
        (&[("a", 0), ("b", u64::MAX)], 100),
        (&[], 100),
    ] {
        assert_eq!(
            spans(&gguf_file(tensors, size)).0,
            Format::Fixed,
            "{tensors:?}"
        );
    }
    let good = gguf_file(&[("a", 0)], 100);
    assert_eq!(spans(&good).0, Format::Gguf);
    for at in 4..24 {
        let mut bad = good.clone();
        bad[at] = 0xff;
        assert_eq!(spans(&bad).0, Format::Fixed, "{at}");
    }
    assert_eq!(spans(&good[..100]).0, Format::Fixed);
}

/// The bytes of a counter, mixed: text-like, without repeats.
fn golden_text() -> Vec<u8> {
    let mut state = 1u64;
    let mut bytes = Vec::new();
    while bytes.len() < 12 << 20 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(format!("{:x} ", state >> 33).as_bytes());
    }
    bytes.truncate(12 << 20);
    bytes
}

fn content_cuts(mut bytes: &[u8]) -> Vec<usize> {
    let mut cuts = Vec::new();
    while !bytes.is_empty() {
        let length = content::cut(bytes);
        cuts.push(length);
        bytes = &bytes[length..];
    }
    cuts
}

/// Where the cuts lay when the format was fixed. If this fails, the algorithm has changed, and
/// with it the identity of every text file: that needs a new version of the chunk table.
#[test]
fn cuts_by_content_are_pinned() {
    assert_eq!(
        content_cuts(&golden_text()),
        [
            1_366_804, 1_754_752, 1_523_796, 1_512_519, 708_160, 1_340_701, 1_179_031, 2_130_785,
            1_066_364
        ]
    );
}

#[test]
fn an_insertion_moves_the_cuts_around_it_only() {
    let text = golden_text();
    assert_eq!(planned(&text), Plan::Content);
    let before = content_cuts(&text);
    let mut changed = text.clone();
    changed.splice(3_000_000..3_000_000, *b"inserted");
    let after = content_cuts(&changed);
    let same_end = before
        .iter()
        .rev()
        .zip(after.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    assert!(same_end + 4 >= before.len(), "{before:?} {after:?}");
    assert!(
        before
            .iter()
            .all(|length| *length <= CHUNK_BYTES_MAX as usize)
    );
}

#[test]
fn weights_in_zip_archives_and_plain_weights_are_not_cut_by_content() {
    let mut zip = b"PK\x03\x04".to_vec();
    zip.resize(30, 0);
    zip.extend_from_slice(b"archive/data.pkl");
    zip.resize(1000, 1);
    assert_eq!(spans(&zip).0, Format::Fixed);
    zip[35] = b'_';
    zip[40] = b'x';
    assert_eq!(planned(&zip), Plan::Content);
    assert_eq!(spans(&[0, 1, 2, 3]).0, Format::Fixed);
    assert_eq!(planned("grüße".as_bytes()), Plan::Content);
}
