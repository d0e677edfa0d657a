//! What a hot range costs the core: a measurement with a generous bound, so that an accidental
//! allocation or system call per request shows.

use std::time::Instant;

use towline_io::{Demand, Output, Protocol};

use super::driver::Node;

#[test]
#[ignore = "prints a figure; run it in release mode"]
fn a_hot_range_costs_the_core_about_two_microseconds() {
    let node = Node::new();
    std::fs::create_dir(node.path("models/qwen3")).unwrap();
    node.write("models/qwen3/model-00001.safetensors", &vec![7; 1 << 20]);
    let path = "/files/models/qwen3/model-00001.safetensors";
    let request = format!("GET {path} HTTP/1.1\r\nHost: n\r\nRange: bytes=65536-131071\r\n\r\n");
    node.ask(&request);
    let mut connection = node.factory.accept(towline_io::Peer {
        address: "10.0.0.7:999".parse().unwrap(),
        local: "10.0.0.7:999".parse().unwrap(),
    });
    let (mut output, count) = (Output::default(), 200_000);
    let started = Instant::now();
    for _ in 0..count {
        let mut input = request.as_bytes();
        let demand = connection.advance(&mut input, &mut output);
        assert!(matches!(demand, Demand::Input) && input.is_empty());
        drop(output.take());
    }
    let nanoseconds = started.elapsed().as_nanos() / count;
    println!("{nanoseconds} ns per request");
    assert!(nanoseconds < 5_000, "{nanoseconds} ns");
}
