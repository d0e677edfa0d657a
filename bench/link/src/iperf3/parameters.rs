//! The parameters of a test, as the client sends them and the server judges them.
//!
//! Invariant: a [`Parameters`] that was read from the wire is within every limit of this file, so
//! no later code judges again. Flags are `true` or absent: `false`, 0 and absent count alike here,
//! though the C program takes a present `false` for true. Unknown keys are ignored, as it does.

use serde_json::{Map, Value, json};

use super::code::Code;
use super::fault::Fault;
use super::number::{integer, member};

/// Most streams of one direction, as a count; that of the C program.
pub const STREAMS_MAX: u32 = 128;

/// Longest test in seconds, without what is omitted; that of the C program.
pub const TIME_S_MAX: u32 = 86_400;

/// Longest omitted time in seconds; that of the C program.
pub const OMIT_S_MAX: u32 = 600;

/// Largest block of a TCP stream in bytes; that of the C program.
pub const BLOCK_BYTES_MAX: u32 = 1 << 20;

/// Largest datagram in bytes: 65,535 less the headers of IPv4 and UDP.
pub const DATAGRAM_BYTES_MAX: u32 = 65_507;

/// Smallest datagram in bytes: its header with 64-bit counters.
pub const DATAGRAM_BYTES_MIN: u32 = 16;

/// Largest socket buffer in bytes that may be asked for; that of the C program.
pub const WINDOW_BYTES_MAX: u32 = 512 << 20;

/// Most blocks sent in one burst, as a count; that of the C program.
pub const BURST_BLOCKS_MAX: u32 = 1000;

/// Longest name, title or token in bytes: an RSA-4096 token in base64 has 684.
const TEXT_BYTES_MAX: usize = 4096;

/// Length of a TCP block in bytes when nobody says otherwise.
pub const BLOCK_BYTES_DEFAULT: u32 = 128 << 10;

/// Length of a datagram in bytes when nobody says otherwise: fits an Ethernet frame over IPv6
/// with options.
pub const DATAGRAM_BYTES_DEFAULT: u32 = 1460;

/// Rate of a UDP stream in bits per second when nobody says otherwise.
pub const UDP_RATE_DEFAULT: u64 = 1 << 20;

/// What carries the data.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Transport {
    /// A stream.
    #[default]
    Tcp,
    /// Datagrams.
    Udp,
}

/// Who sends.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Direction {
    /// The client.
    #[default]
    Forward,
    /// The server.
    Reverse,
    /// Both, each with its own streams.
    Both,
}

/// Everything a client asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    /// TCP or UDP.
    pub transport: Transport,
    /// Who sends.
    pub direction: Direction,
    /// Seconds at the start that do not count, to [`OMIT_S_MAX`].
    pub omit_s: u32,
    /// Seconds that count, to [`TIME_S_MAX`]; 0 with a number of bytes or blocks.
    pub time_s: u32,
    /// Bytes to move in all, 0: as many as the time allows.
    pub bytes: u64,
    /// Blocks to move in all, 0: as many as the time allows.
    pub blocks: u64,
    /// Streams per direction, 1 to [`STREAMS_MAX`].
    pub parallel: u32,
    /// Bytes per block or datagram.
    pub len: u32,
    /// Bits per second of each sending stream, 0: no limit.
    pub bandwidth: u64,
    /// Blocks per burst where the rate is limited, 0 or 1: single ones.
    pub burst: u32,
    /// Largest segment in bytes, 0: the system's.
    pub segment_bytes: u32,
    /// Nagle's delay off.
    pub nodelay: bool,
    /// Socket buffers in bytes, 0: the system tunes them.
    pub window: u32,
    /// Type of service octet, 0 to 255.
    pub tos: u32,
    /// Name of a congestion control.
    pub congestion: Option<String>,
    /// Sequence numbers of datagrams have 64 bits.
    pub counters_64bit: bool,
    /// The payload is a pattern, not random.
    pub repeating_payload: bool,
    /// The sender avoids copies.
    pub zerocopy: bool,
    /// Datagrams are never cut on the way.
    pub dont_fragment: bool,
    /// The client wants the server's own report.
    pub get_server_output: bool,
    /// A title for reports.
    pub title: Option<String>,
    /// A text for reports.
    pub extra_data: Option<String>,
    /// What the client calls itself; no server acts on it.
    pub client_version: Option<String>,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            transport: Transport::Tcp,
            direction: Direction::Forward,
            omit_s: 0,
            time_s: 10,
            bytes: 0,
            blocks: 0,
            parallel: 1,
            len: BLOCK_BYTES_DEFAULT,
            bandwidth: 0,
            burst: 0,
            segment_bytes: 0,
            nodelay: false,
            window: 0,
            tos: 0,
            congestion: None,
            counters_64bit: false,
            repeating_payload: false,
            zerocopy: false,
            dont_fragment: false,
            get_server_output: false,
            title: None,
            extra_data: None,
            client_version: None,
        }
    }
}

impl Parameters {
    /// Streams of both directions together.
    #[must_use]
    pub fn streams(&self) -> usize {
        let each = self.parallel as usize;
        match self.direction {
            Direction::Forward | Direction::Reverse => each,
            Direction::Both => each * 2,
        }
    }

    /// Whether stream `index` (in order of creation) is one that the client sends on.
    #[must_use]
    pub fn client_sends(&self, index: usize) -> bool {
        match self.direction {
            Direction::Forward => true,
            Direction::Reverse => false,
            Direction::Both => index < self.parallel as usize,
        }
    }

    /// The message to the server.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut object = Map::new();
        let transport = match self.transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        object.insert(transport.into(), json!(true));
        object.insert("omit".into(), json!(self.omit_s));
        object.insert("time".into(), json!(self.time_s));
        object.insert("num".into(), json!(self.bytes));
        object.insert("blockcount".into(), json!(self.blocks));
        object.insert("parallel".into(), json!(self.parallel));
        object.insert("len".into(), json!(self.len));
        object.insert("pacing_timer".into(), json!(1000));
        // These are `true` or absent; the next group are numbers or absent (trap of 3.21).
        let flags = [
            ("reverse", self.direction == Direction::Reverse),
            ("bidirectional", self.direction == Direction::Both),
            ("nodelay", self.nodelay),
        ];
        for (key, _) in flags.into_iter().filter(|(_, set)| *set) {
            object.insert(key.into(), json!(true));
        }
        let numbers = [
            ("bandwidth", self.bandwidth),
            ("burst", u64::from(self.burst)),
            ("MSS", u64::from(self.segment_bytes)),
            ("window", u64::from(self.window)),
            ("TOS", u64::from(self.tos)),
            ("udp_counters_64bit", u64::from(self.counters_64bit)),
            ("repeating_payload", u64::from(self.repeating_payload)),
            ("zerocopy", u64::from(self.zerocopy)),
            ("dont_fragment", u64::from(self.dont_fragment)),
            ("get_server_output", u64::from(self.get_server_output)),
        ];
        for (key, value) in numbers.into_iter().filter(|(_, value)| *value != 0) {
            object.insert(key.into(), json!(value));
        }
        let texts = [
            ("congestion", &self.congestion),
            ("title", &self.title),
            ("extra_data", &self.extra_data),
            ("client_version", &self.client_version),
        ];
        for (key, value) in texts {
            if let Some(value) = value {
                object.insert(key.into(), json!(value));
            }
        }
        Value::Object(object)
    }

    /// Reads and judges a client's message. Credentials (`authtoken`) are not looked at: nobody is
    /// asked for any here, and a C server without users serves such a client too.
    ///
    /// # Errors
    /// [`Fault::Refused`] with the code of the first value that is out of range.
    pub fn from_value(value: &Value) -> Result<Self, Fault> {
        if !value.is_object() {
            return Err(refused(Code::PARAMETERS));
        }
        let reader = Reader { value };
        let transport = if reader.flag("udp")? {
            Transport::Udp
        } else if reader.flag("sctp")? {
            return Err(refused(Code::PARAMETERS));
        } else {
            Transport::Tcp
        };
        let direction = match (reader.flag("bidirectional")?, reader.flag("reverse")?) {
            (true, true) => return Err(refused(Code::PARAMETERS)),
            (true, false) => Direction::Both,
            (false, true) => Direction::Reverse,
            (false, false) => Direction::Forward,
        };
        let window = reader.within("window", 0, 0, WINDOW_BYTES_MAX, Code::BUFFER_SIZE)?;
        Ok(Self {
            transport,
            direction,
            omit_s: reader.within("omit", 0, 0, OMIT_S_MAX, Code::OMIT)?,
            time_s: reader.within("time", 10, 0, TIME_S_MAX, Code::DURATION)?,
            bytes: reader.count("num")?,
            blocks: reader.count("blockcount")?,
            parallel: reader.within("parallel", 1, 1, STREAMS_MAX, Code::STREAMS)?,
            len: reader.length(transport)?,
            bandwidth: reader.count("bandwidth")?,
            burst: reader.within("burst", 0, 0, BURST_BLOCKS_MAX, Code::BURST)?,
            segment_bytes: reader.within("MSS", 0, 0, 32_767, Code::SEGMENT_SIZE)?,
            nodelay: reader.flag("nodelay")?,
            window,
            tos: reader.within("TOS", 0, 0, 255, Code::TOS)?,
            congestion: reader.text("congestion")?,
            counters_64bit: reader.flag("udp_counters_64bit")?,
            repeating_payload: reader.flag("repeating_payload")?,
            zerocopy: reader.flag("zerocopy")?,
            dont_fragment: reader.flag("dont_fragment")?,
            get_server_output: reader.flag("get_server_output")?,
            title: reader.text("title")?,
            extra_data: reader.text("extra_data")?,
            client_version: reader.text("client_version")?,
        })
    }
}

fn refused(code: Code) -> Fault {
    Fault::Refused { code }
}

struct Reader<'a> {
    value: &'a Value,
}

impl Reader<'_> {
    /// Set by anything but `false`, 0 and null.
    fn flag(&self, key: &str) -> Result<bool, Fault> {
        match member(self.value, key) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(set)) => Ok(*set),
            Some(number @ Value::Number(_)) => Ok(integer(number) != Some(0)),
            Some(_) => Err(refused(Code::PARAMETERS)),
        }
    }

    fn number(&self, key: &str) -> Result<Option<i64>, Fault> {
        match member(self.value, key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => integer(value)
                .map(Some)
                .ok_or_else(|| refused(Code::PARAMETERS)),
        }
    }

    fn within(
        &self,
        key: &str,
        default: u32,
        least: u32,
        most: u32,
        code: Code,
    ) -> Result<u32, Fault> {
        let Some(number) = self.number(key)? else {
            return Ok(default);
        };
        let number = u32::try_from(number).map_err(|_| refused(code))?;
        if (least..=most).contains(&number) {
            Ok(number)
        } else {
            Err(refused(code))
        }
    }

    fn count(&self, key: &str) -> Result<u64, Fault> {
        let number = self.number(key)?.unwrap_or(0);
        u64::try_from(number).map_err(|_| refused(Code::PARAMETERS))
    }

    fn length(&self, transport: Transport) -> Result<u32, Fault> {
        match transport {
            Transport::Tcp => {
                let default = BLOCK_BYTES_DEFAULT;
                self.within("len", default, 1, BLOCK_BYTES_MAX, Code::BLOCK_SIZE)
            }
            Transport::Udp => self.within(
                "len",
                DATAGRAM_BYTES_DEFAULT,
                DATAGRAM_BYTES_MIN,
                DATAGRAM_BYTES_MAX,
                Code::DATAGRAM_SIZE,
            ),
        }
    }

    fn text(&self, key: &str) -> Result<Option<String>, Fault> {
        match member(self.value, key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.len() <= TEXT_BYTES_MAX => Ok(Some(text.clone())),
            Some(_) => Err(refused(Code::PARAMETERS)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of(value: &Value) -> Option<Code> {
        match Parameters::from_value(value) {
            Err(Fault::Refused { code }) => Some(code),
            Err(_) | Ok(_) => None,
        }
    }

    #[test]
    fn what_is_sent_is_read_back() {
        let parameters = Parameters {
            transport: Transport::Udp,
            direction: Direction::Both,
            parallel: 128,
            len: 16,
            bandwidth: 1,
            counters_64bit: true,
            tos: 255,
            title: Some("x".into()),
            ..Parameters::default()
        };
        let value = parameters.to_value();
        assert_eq!(Parameters::from_value(&value), Ok(parameters));
        assert!(value.get("reverse").is_none(), "false would mean true");
    }

    #[test]
    fn each_limit_passes_and_one_past_it_is_refused_with_its_code() {
        let cases = [
            ("tcp", "parallel", 128, Code::STREAMS),
            ("tcp", "time", 86_400, Code::DURATION),
            ("tcp", "omit", 600, Code::OMIT),
            ("tcp", "len", 1 << 20, Code::BLOCK_SIZE),
            ("udp", "len", 65_507, Code::DATAGRAM_SIZE),
            ("tcp", "window", 512 << 20, Code::BUFFER_SIZE),
            ("tcp", "MSS", 32_767, Code::SEGMENT_SIZE),
            ("tcp", "burst", 1000, Code::BURST),
            ("tcp", "TOS", 255, Code::TOS),
        ];
        for (transport, key, most, code) in cases {
            assert_eq!(code_of(&json!({transport: true, key: most})), None, "{key}");
            let past = json!({transport: true, key: most + 1});
            assert_eq!(code_of(&past), Some(code), "{key}");
            assert_eq!(code_of(&json!({key: "x"})), Some(Code::PARAMETERS), "{key}");
        }
        assert_eq!(code_of(&json!({"parallel": 0})), Some(Code::STREAMS));
        assert_eq!(code_of(&json!({"authtoken": "x"})), None);
    }

    #[test]
    fn false_zero_and_absent_are_alike_and_a_missing_length_has_a_default() {
        let odd = json!({"tcp": true, "reverse": false, "bidirectional": 0});
        let read = Parameters::from_value(&odd).unwrap();
        assert_eq!(read.direction, Direction::Forward);
        assert_eq!(read.len, BLOCK_BYTES_DEFAULT);
    }
}
