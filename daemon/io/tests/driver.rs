//! The connection driver under a toy protocol, on both engines: the same bytes from each.
//!
//! The protocol has one command a line: `text`, `span`, `frame`, `put`, `owe` (a `put`
//! that is answered at the next turn), `job`, `call` (says the word later, unasked), `off` and `bye`.
//! Cold data is made by dropping the file's pages before asking. Not covered: real protocols;
//! their crates and the whole-system tests do that.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a failed step is a failed test"
)]

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use towline_io::{
    Address, Admission, Congestion, Demand, EngineChoice, FileSpan, Framed, Gate, HandOff,
    Listening, OpenFile, Output, Passage, Patience, Payload, PayloadFault, PayloadSink, Peer, Pool,
    PoolLimits, Protocol, Service, SpanFault, Worker, WorkerHandle, WorkerLimits, WorkerMetrics,
    WorkerParts, listen_all,
};
use towline_sys::identity::Identity;

struct Toy {
    file: Arc<OpenFile>,
    sink: Arc<OpenFile>,
    /// The answer to a payload waits for the next call.
    owes: Option<bool>,
    /// How others reach it.
    address: Address<String>,
    is_kept: bool,
}

impl Toy {
    fn run(&mut self, line: &str, output: &mut Output<String>) -> Option<Demand> {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |index: usize| words[index].parse::<u64>().unwrap();
        match words[0] {
            "text" => output.buffer().extend_from_slice(words[1].as_bytes()),
            "span" => {
                let span = FileSpan {
                    file: self.file.clone(),
                    offset: number(1),
                    length: number(2),
                };
                output.span(span);
            }
            "frame" => {
                let head_start = output.buffer().len();
                output.buffer().extend_from_slice(b"<");
                let span = FileSpan {
                    file: self.file.clone(),
                    offset: number(1),
                    length: number(2),
                };
                output.framed(Framed {
                    head_start,
                    span,
                    padding: 2,
                    recover,
                });
            }
            "put" | "owe" => {
                self.owes = (words[0] == "owe").then_some(false);
                let sink = PayloadSink {
                    file: self.sink.clone(),
                    offset: number(1),
                    who: match words.len() {
                        5 => Identity::new(number(3) as u32, number(4) as u32, &[]),
                        _ => Identity::new(65_534, 65_534, &[]),
                    },
                };
                return Some(Demand::Payload(Payload {
                    sink: Some(sink),
                    length: number(2),
                }));
            }
            "job" => {
                let answer = words[1].to_owned();
                output.defer(move || answer);
                return Some(Demand::Pause);
            }
            "panic" => {
                output.defer(|| panic!("a job that panics on purpose"));
                return Some(Demand::Pause);
            }
            "call" => {
                self.is_kept = true;
                let (address, word) = (self.address.clone(), words[1].to_owned());
                std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(700));
                    assert!(address.tell(word), "there is room for it");
                });
            }
            "off" => return Some(Demand::HandOff),
            _ => return Some(Demand::Close),
        }
        None
    }
}

fn recover(head: &[u8], fault: SpanFault) -> Option<Vec<u8>> {
    assert_eq!(head, b"<");
    match fault {
        SpanFault::Short { .. } => Some(b"short".to_vec()),
        SpanFault::Read(_) | SpanFault::Late | SpanFault::Lost => None,
    }
}

impl Protocol for Toy {
    type Done = String;

    fn advance(&mut self, input: &mut &[u8], output: &mut Output<String>) -> Demand {
        if self.owes == Some(true) {
            self.owes = None;
            output.buffer().extend_from_slice(b"owed");
        }
        while let Some(end) = input.iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8(input[..end].to_vec()).unwrap();
            *input = &input[end + 1..];
            if let Some(demand) = self.run(&line, output) {
                return demand;
            }
        }
        Demand::Input
    }

    fn received(
        &mut self,
        outcome: Result<(), PayloadFault>,
        output: &mut Output<String>,
    ) -> Demand {
        if let Some(owes) = &mut self.owes {
            *owes = true;
            return Demand::Input;
        }
        let answer = if outcome.is_ok() {
            &b"stored"[..]
        } else {
            b"failed"
        };
        output.buffer().extend_from_slice(answer);
        Demand::Input
    }

    fn completed(&mut self, done: String, output: &mut Output<String>) -> Demand {
        output.buffer().extend_from_slice(done.as_bytes());
        Demand::Input
    }

    fn told(&mut self, word: String, output: &mut Output<String>) {
        output.buffer().extend_from_slice(word.as_bytes());
    }

    fn is_kept(&self) -> bool {
        self.is_kept
    }

    fn is_idle(&self) -> bool {
        true
    }
}

struct ToyService {
    file: Arc<OpenFile>,
    sink: Arc<OpenFile>,
    handed_off: mpsc::SyncSender<HandOff>,
}

impl Service for ToyService {
    type Connection = Toy;

    fn accept(&mut self, _: usize, _: Peer, address: Address<String>) -> Option<Toy> {
        Some(Toy {
            address,
            is_kept: false,
            file: self.file.clone(),
            sink: self.sink.clone(),
            owes: None,
        })
    }

    fn hand_off(&mut self, connection: HandOff) {
        self.handed_off.send(connection).unwrap();
    }

    fn tick(&mut self) {}
}

struct Server {
    address: SocketAddr,
    file: Arc<OpenFile>,
    sink: Arc<OpenFile>,
    handle: WorkerHandle<String>,
    handed_off: mpsc::Receiver<HandOff>,
    metrics: Arc<WorkerMetrics>,
    thread: Option<std::thread::JoinHandle<()>>,
}

const FILE_BYTES: usize = 24 << 20;

fn content() -> Vec<u8> {
    (0..FILE_BYTES as u64 / 8)
        .flat_map(|word| (word * 0x9e37_79b9).to_le_bytes())
        .collect()
}

fn serve(engine: EngineChoice, idle_max: Duration) -> Server {
    serve_behind(engine, idle_max, None)
}

fn serve_behind(engine: EngineChoice, idle_max: Duration, gate: Option<Arc<ToyGate>>) -> Server {
    serve_within(engine, idle_max, gate, WorkerLimits::default())
}

fn serve_within(
    engine: EngineChoice,
    idle_max: Duration,
    gate: Option<Arc<ToyGate>>,
    limits: WorkerLimits,
) -> Server {
    let gate = gate.map(|gate| gate as Arc<dyn Gate>);
    let file = tempfile::tempfile().unwrap();
    (&file).write_all(&content()).unwrap();
    file.sync_all().unwrap();
    let shared = |file| Arc::new(OpenFile::new(file));
    let file = Arc::new(OpenFile::new(file).behind(gate));
    let (file, sink) = (file, shared(tempfile::tempfile().unwrap()));
    let any = "127.0.0.1:0".parse().unwrap();
    let socket = listen_all(any, 1).unwrap().pop().unwrap();
    let address = SocketAddr::try_from(rustix::net::getsockname(&socket).unwrap()).unwrap();
    let (send, receive) = mpsc::sync_channel(1);
    let (send_off, handed_off) = mpsc::sync_channel(4);
    let metrics = Arc::new(WorkerMetrics::default());
    let service = ToyService {
        file: file.clone(),
        sink: sink.clone(),
        handed_off: send_off,
    };
    let parts_metrics = metrics.clone();
    let patience = Patience {
        idle_max,
        head_max: None,
    };
    let thread = std::thread::spawn(move || {
        let parts = WorkerParts {
            listeners: vec![Listening {
                socket,
                congestion: Congestion::Host,
                patience,
            }],
            engine,
            limits: WorkerLimits {
                drain_max: Duration::from_secs(2),
                ..limits
            },
            admission: Arc::new(Admission::new(100, 100)),
            pool: Arc::new(
                Pool::new(PoolLimits {
                    threads: 2,
                    queue_max: 4,
                })
                .unwrap(),
            ),
            metrics: parts_metrics,
        };
        let (worker, handle, _) = Worker::new(parts, service).unwrap();
        send.send(handle).unwrap();
        worker.run().unwrap();
    });
    let handle = receive.recv().unwrap();
    Server {
        address,
        file,
        sink,
        handle,
        handed_off,
        metrics,
        thread: Some(thread),
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.handle.drain();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn on_both_engines(test: impl Fn(&Server)) {
    on_both_engines_within(WorkerLimits::default(), test);
}

fn on_both_engines_within(limits: WorkerLimits, test: impl Fn(&Server)) {
    for engine in [EngineChoice::Uring, EngineChoice::Portable] {
        if engine == EngineChoice::Uring && !towline_io::uring_works() {
            eprintln!("SKIP io_uring is not available here");
            continue;
        }
        test(&serve_within(
            engine,
            Duration::from_secs(600),
            None,
            limits,
        ));
    }
}

/// Sends the commands, closes the sending side, and reads everything that comes.
fn ask(server: &Server, request: &[u8]) -> Vec<u8> {
    ask_at(server.address, request)
}

fn ask_at(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut writer = stream.try_clone().unwrap();
    let request = request.to_vec();
    let thread = std::thread::spawn(move || {
        let _ = writer.write_all(&request);
        let _ = writer.shutdown(Shutdown::Write);
    });
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    thread.join().unwrap();
    reply
}

fn make_cold(file: &File) {
    let advice = rustix::fs::Advice::DontNeed;
    rustix::fs::fadvise(file.as_fd(), 0, None, advice).unwrap();
}

#[test]
fn spans_come_in_order_hot_and_cold() {
    let all = content();
    on_both_engines(|server| {
        let request = format!("text a\nspan 5 3000000\ntext b\nspan 100 7\nspan 0 {FILE_BYTES}\n");
        let mut expected = b"a".to_vec();
        expected.extend_from_slice(&all[5..3_000_005]);
        expected.extend_from_slice(b"b");
        expected.extend_from_slice(&all[100..107]);
        expected.extend_from_slice(&all);
        for is_cold in [false, true, true] {
            if is_cold {
                make_cold(&server.file);
            }
            let reply = ask(server, request.as_bytes());
            assert!(reply == expected, "{} of {}", reply.len(), expected.len());
        }
        assert!(
            server.metrics.cold_reads.get() > 0 || server.file.lives_in_memory(),
            "a cold file must have been read aside"
        );
    });
}

/// A write takes set-id bits away as the kernel does for that very writer: set-user-id always,
/// set-group-id where the group may execute, or where the writer is not of the group
/// (xfstests generic/193). Once all payloads were written as nobody, who is in no group.
#[test]
fn a_payload_takes_set_id_bits_away_for_the_one_who_writes() {
    use std::os::unix::fs::PermissionsExt;
    const GROUP: u32 = 2_001;
    if !towline_sys::identity::can_switch() {
        return;
    }
    on_both_engines(|server| {
        let file: &File = &server.sink;
        rustix::fs::fchown(file, None, Some(rustix::fs::Gid::from_raw(GROUP))).unwrap();
        for length in [10, 300_000] {
            for (uid, gid, before, after) in [
                (1_001, GROUP, 0o2664, 0o2664),
                (1_001, GROUP, 0o2674, 0o674),
                (1_001, GROUP, 0o6664, 0o2664),
                (1_001, 2_009, 0o2666, 0o666),
                (0, 0, 0o6775, 0o6775),
            ] {
                let mode = std::fs::Permissions::from_mode(before);
                file.set_permissions(mode).unwrap();
                let mut request = format!("put 0 {length} {uid} {gid}\n").into_bytes();
                request.resize(request.len() + length, b'x');
                ask(server, &request);
                let mode = file.metadata().unwrap().permissions().mode() & 0o7777;
                assert_eq!(mode, after, "{before:o} of {length} bytes by {uid}:{gid}");
            }
        }
    });
}

#[test]
fn framed_replies_are_whole_hot_and_cold() {
    let all = content();
    on_both_engines(|server| {
        for (offset, length) in [(3_usize, 10_usize), (4096, 32 << 10), (999, 1 << 20)] {
            for is_cold in [true, false] {
                if is_cold {
                    make_cold(&server.file);
                }
                let reply = ask(server, format!("frame {offset} {length}\n").as_bytes());
                let mut expected = b"<".to_vec();
                expected.extend_from_slice(&all[offset..offset + length]);
                expected.extend_from_slice(&[0, 0]);
                assert!(
                    reply == expected,
                    "{offset} {length} {is_cold} {}",
                    reply.len()
                );
            }
        }
    });
}

#[test]
fn many_framed_replies_at_once_arrive_whole_in_any_order() {
    on_both_engines(|server| {
        make_cold(&server.file);
        let request: String = (0..200)
            .map(|i| format!("frame {} 40000\n", (i * 40_009) % 5_000_000))
            .collect();
        assert_eq!(ask(server, request.as_bytes()).len(), 200 * 40_003);
    });
}

#[test]
fn a_framed_span_behind_the_files_end_is_answered_otherwise() {
    on_both_engines(|server| {
        for length in [10, 100_000] {
            let request = format!("frame {FILE_BYTES} {length}\ntext x\n");
            let reply = ask(server, request.as_bytes());
            assert!(
                reply == b"shortx" || reply == b"xshort",
                "{}",
                reply.escape_ascii()
            );
        }
    });
}

#[test]
fn an_ordered_span_behind_the_files_end_ends_the_connection() {
    on_both_engines(|server| {
        let request = format!("text a\nspan {} 20\ntext b\n", FILE_BYTES - 10);
        let reply = ask(server, request.as_bytes());
        assert!(
            reply.len() <= 11 && !reply.ends_with(b"b"),
            "{}",
            reply.escape_ascii()
        );
    });
}

#[test]
fn payloads_of_every_size_land_where_they_belong() {
    let all = content();
    on_both_engines(|server| {
        let mut at = 0;
        for length in [0_usize, 1, 8_000, 65_536, 100_001, 1 << 20, 5 << 20] {
            let mut request = format!("put {at} {length}\n").into_bytes();
            request.extend_from_slice(&all[..length]);
            request.extend_from_slice(b"text behind\n");
            assert_eq!(ask(server, &request), b"storedbehind", "{length}");
            let mut stored = vec![0; length];
            std::os::unix::fs::FileExt::read_exact_at(&**server.sink, &mut stored, at).unwrap();
            assert!(stored == all[..length], "{length}");
            at += length as u64;
        }
    });
}

/// What is said unasked reaches a connection that is idle for longer than others may be.
#[test]
fn a_word_from_outside_leaves_on_its_own_connection() {
    for engine in [EngineChoice::Uring, EngineChoice::Portable] {
        let server = serve(engine, Duration::from_millis(100));
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let mut gone = TcpStream::connect(server.address).unwrap();
        gone.write_all(b"call lost\n").unwrap();
        drop(gone);
        stream.write_all(b"call hello\n").unwrap();
        let mut other = TcpStream::connect(server.address).unwrap();
        let mut word = [0; 5];
        stream.read_exact(&mut word).expect("a word");
        assert_eq!(&word, b"hello");
        assert_eq!(
            other.read(&mut word).unwrap(),
            0,
            "others are closed by then"
        );
    }
}

/// A WRITE of NFSv4 with nothing behind its data was answered when the next call came, and a
/// program that writes past its own cache sent none before it had the answer.
#[test]
fn a_payload_that_ends_a_request_is_answered_without_another_byte() {
    on_both_engines(|server| {
        for length in [10, 100_000, 1 << 20] {
            let mut stream = TcpStream::connect(server.address).unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(5)))
                .unwrap();
            stream
                .write_all(format!("owe 0 {length}\n").as_bytes())
                .unwrap();
            std::thread::sleep(Duration::from_millis(20));
            stream.write_all(&content()[..length]).unwrap();
            let mut answer = [0; 4];
            stream.read_exact(&mut answer).expect("an answer");
            assert_eq!(&answer, b"owed", "{length} bytes");
        }
    });
}

/// A long payload is let come together in the socket, but not for ever: what a slow peer has sent
/// is taken, and what comes later still lands behind it.
#[test]
fn a_payload_that_stops_on_its_way_is_taken_as_far_as_it_came() {
    let all = content();
    let (length, first) = (1 << 20, 400_000);
    on_both_engines(|server| {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream
            .write_all(format!("put 0 {length}\n").as_bytes())
            .unwrap();
        stream.write_all(&all[..first]).unwrap();
        let patience = std::time::Instant::now();
        while server.metrics.bytes_received.get() < first as u64 {
            assert!(
                patience.elapsed() < Duration::from_secs(5),
                "it was left there"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        stream.write_all(&all[first..length]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).unwrap();
        assert_eq!(reply, b"stored");
        let mut stored = vec![0; length];
        std::os::unix::fs::FileExt::read_exact_at(&**server.sink, &mut stored, 0).unwrap();
        assert!(stored == all[..length]);
    });
}

/// A gate that opens as somebody says.
#[derive(Debug, Default)]
struct ToyGate {
    arrived: std::sync::atomic::AtomicU64,
    is_lost: std::sync::atomic::AtomicBool,
    wanted: std::sync::atomic::AtomicU64,
}

impl Gate for ToyGate {
    fn passage(&self, offset: u64, length: u64) -> Passage {
        use std::sync::atomic::Ordering::SeqCst;
        match self.arrived.load(SeqCst).saturating_sub(offset).min(length) {
            0 if self.is_lost.load(SeqCst) => Passage::Lost,
            0 => Passage::Closed,
            bytes => Passage::Open(bytes),
        }
    }

    fn want(&self, offset: u64, length: u64) {
        let end = offset + length;
        self.wanted
            .fetch_max(end, std::sync::atomic::Ordering::SeqCst);
    }
}

/// Bytes that have not arrived are waited for and never made up, and other connections go on.
#[test]
fn replies_wait_for_bytes_that_are_still_on_their_way() {
    use std::sync::atomic::Ordering::SeqCst;
    let all = content();
    for engine in [EngineChoice::Uring, EngineChoice::Portable] {
        if engine == EngineChoice::Uring && !towline_io::uring_works() {
            continue;
        }
        let gate = Arc::new(ToyGate::default());
        let server = serve_behind(engine, Duration::from_secs(600), Some(gate.clone()));
        let address = server.address;
        let whole = format!("span 0 {FILE_BYTES}\n");
        let frame = "frame 2000000 100000\n".to_owned();
        let spans = std::thread::spawn(move || ask_at(address, whole.as_bytes()));
        let frames = std::thread::spawn(move || ask_at(address, frame.as_bytes()));
        // Somebody else is not held up.
        assert_eq!(ask(&server, b"text other\n"), b"other");
        for arrived in (0..=FILE_BYTES as u64).step_by(FILE_BYTES / 8) {
            gate.arrived.store(arrived, SeqCst);
            std::thread::sleep(Duration::from_millis(20));
        }
        gate.arrived.store(FILE_BYTES as u64, SeqCst);
        assert!(spans.join().unwrap() == all);
        let expected = [b"<", &all[2_000_000..2_100_000], &[0, 0]].concat();
        assert!(frames.join().unwrap() == expected);
        assert!(gate.wanted.load(SeqCst) >= 2_100_000);
    }
}

/// What will not arrive ends its reply.
#[test]
fn a_file_that_stops_on_its_way_ends_its_replies() {
    use std::sync::atomic::Ordering::SeqCst;
    let gate = Arc::new(ToyGate::default());
    gate.arrived.store(1_000_000, SeqCst);
    let patience = Duration::from_secs(600);
    let server = serve_behind(EngineChoice::Portable, patience, Some(gate.clone()));
    let address = server.address;
    let reader = std::thread::spawn(move || ask_at(address, b"span 0 2000000\n"));
    std::thread::sleep(Duration::from_millis(100));
    gate.is_lost.store(true, SeqCst);
    let got = reader.join().unwrap();
    assert!(got == content()[..1_000_000], "{}", got.len());
}

/// A refused write must not shift the stream: what follows the payload is still understood.
#[test]
fn a_payload_that_the_file_refuses_is_read_past() {
    on_both_engines(|server| {
        let behind_the_largest = i64::MAX as u64 - 10;
        let mut request = format!("put {behind_the_largest} 300000\n").into_bytes();
        request.extend_from_slice(&vec![7; 300_000]);
        request.extend_from_slice(b"text on\n");
        assert_eq!(ask(server, &request), b"failedon");
    });
}

#[test]
fn jobs_answer_in_their_turn_and_a_panic_ends_only_its_connection() {
    on_both_engines(|server| {
        let request: String = (0..50).map(|i| format!("job {i},\ntext .\n")).collect();
        let expected: String = (0..50).map(|i| format!("{i},.")).collect();
        assert_eq!(ask(server, request.as_bytes()), expected.as_bytes());
        assert_eq!(ask(server, b"text a\npanic\ntext b\n"), b"a");
        assert_eq!(ask(server, b"job alive\n"), b"alive");
    });
}

#[test]
fn a_hand_off_takes_the_unread_bytes_along() {
    on_both_engines(|server| {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(b"text a\noff\nrest").unwrap();
        let off = server
            .handed_off
            .recv_timeout(Duration::from_secs(10))
            .unwrap();
        assert_eq!(off.unread, b"rest");
        rustix::net::send(
            &off.stream,
            b"from elsewhere\n",
            rustix::net::SendFlags::empty(),
        )
        .unwrap();
        drop(off);
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        assert_eq!(line, "afrom elsewhere\n");
    });
}

#[test]
fn a_closing_reply_is_not_lost_to_a_reset() {
    on_both_engines(|server| {
        let mut request = b"text last\nbye\n".to_vec();
        request.extend_from_slice(&vec![b'x'; 500_000]);
        assert_eq!(ask(server, &request), b"last");
    });
}

#[test]
fn an_idle_connection_is_closed_after_its_time() {
    let server = serve(EngineChoice::Auto, Duration::from_secs(1));
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn twenty_clients_at_once_get_their_own_bytes() {
    let all = content();
    on_both_engines(|server| {
        make_cold(&server.file);
        let failures = Mutex::new(0);
        std::thread::scope(|scope| {
            for client in 0..20_usize {
                let (all, failures, address) = (&all, &failures, server.address);
                scope.spawn(move || {
                    let offset = client * 1_000;
                    let request = format!("span {offset} 4000000\n");
                    let reply = ask_at(address, request.as_bytes());
                    if reply != all[offset..offset + 4_000_000] {
                        *failures.lock().unwrap() += 1;
                    }
                });
            }
        });
        assert_eq!(*failures.lock().unwrap(), 0);
    });
}

/// A connection whose receive buffer is as small as the kernel allows.
fn connect_narrow(address: SocketAddr) -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_recv_buffer_size(&socket, 4_096).unwrap();
    connect(&socket, &address).unwrap();
    TcpStream::from(socket)
}

/// Pipes were held until the last byte had left: a few readers that took nothing stopped every
/// cold reply of the worker, of both protocols, and those who waited were cut as too slow.
#[test]
fn readers_that_take_nothing_keep_no_pipe_from_others() {
    const MIB: usize = 1 << 20;
    // More than the buffers of a socket take on the way.
    const PARTS: usize = 4;
    let all = content();
    let limits = WorkerLimits {
        pipes_max: 4,
        progress_window: Duration::from_secs(1),
        ..Default::default()
    };
    for command in ["span", "frame"] {
        on_both_engines_within(limits, |server| {
            if server.file.lives_in_memory() {
                return;
            }
            make_cold(&server.file);
            let slow: Vec<TcpStream> = (0..5)
                .map(|number| {
                    let mut stream = connect_narrow(server.address);
                    for part in 0..PARTS {
                        let at = (number * PARTS + part) * MIB;
                        let request = format!("{command} {at} {MIB}\n");
                        stream.write_all(request.as_bytes()).unwrap();
                    }
                    stream
                })
                .collect();
            std::thread::sleep(Duration::from_millis(300));
            assert!(server.metrics.cold_reads.get() >= 5, "nothing was cold");
            for (command, brackets) in [("span", 0), ("frame", 3)] {
                let offset = 22 * MIB + 4_096 * brackets;
                let length = 700_000;
                make_cold(&server.file);
                let started = std::time::Instant::now();
                let reply = ask(server, format!("{command} {offset} {length}\n").as_bytes());
                let took = started.elapsed();
                assert!(took < Duration::from_secs(5), "{command} took {took:?}");
                let body = &reply[brackets / 3..][..length];
                assert!(body == &all[offset..offset + length]);
            }
            // The slow ones lose nothing: what was in their pipes is sent from the page cache.
            for (number, mut stream) in slow.into_iter().enumerate() {
                stream.shutdown(Shutdown::Write).unwrap();
                let mut reply = Vec::new();
                stream.read_to_end(&mut reply).unwrap();
                let first = number * PARTS;
                let expected = &all[first * MIB..(first + PARTS) * MIB];
                if command == "span" {
                    assert!(reply == expected, "slow reader {number}");
                    continue;
                }
                // Framed replies may overtake each other.
                let mut parts: Vec<_> = reply.chunks(MIB + 3).map(|one| &one[1..=MIB]).collect();
                for part in expected.chunks(MIB) {
                    let found = parts.iter().position(|one| *one == part);
                    parts.swap_remove(found.expect("a part is missing"));
                }
            }
        });
    }
}

/// A reader that paused for 25 s was cut. A pause is no attack; a peer that dribbles is one.
#[test]
fn a_pause_passes_and_a_longer_one_and_a_dribble_do_not() {
    let limits = WorkerLimits {
        stall_max: Duration::from_secs(4),
        progress_window: Duration::from_secs(1),
        ..Default::default()
    };
    let server = serve_within(EngineChoice::Auto, Duration::from_secs(600), None, limits);
    let request = format!("span 0 {FILE_BYTES}\nspan 0 {FILE_BYTES}\nspan 0 {FILE_BYTES}\n");
    let begin = || {
        let mut stream = connect_narrow(server.address);
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        stream
    };
    let all = 3 * FILE_BYTES;
    let rest = |mut stream: TcpStream| {
        let mut reply = Vec::new();
        // A reset is what a closed connection with unread bytes ends in.
        let _ = stream.read_to_end(&mut reply);
        reply.len()
    };
    let (short, long, mut dribble) = (begin(), begin(), begin());
    std::thread::sleep(Duration::from_millis(2_500));
    assert_eq!(rest(short), all, "a short pause");
    let started = std::time::Instant::now();
    let mut is_closed = false;
    while !is_closed && started.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(300));
        let mut one = [0; 1];
        is_closed = !matches!(dribble.read(&mut one), Ok(1)) || server.metrics.timed_out.get() == 2;
    }
    assert!(
        is_closed,
        "a peer that takes a byte now and then stays for ever"
    );
    assert!(rest(long) < all, "a pause beyond the limit");
    assert_eq!(server.metrics.timed_out.get(), 2);
}
