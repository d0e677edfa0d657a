//! The results that both ends exchange at the end of a test.
//!
//! Invariant: values a peer sends are finite and streams are bounded; an entry without its
//! mandatory keys is a fault, as in the C program. A towline end adds one member, `towline`, with
//! what it saw of its own host; the C program ignores members that it does not know.

use serde_json::{Map, Value, json};

use super::fault::Fault;
use super::number::{integer, member, real};
use super::parameters::STREAMS_MAX;

/// One stream as one end saw it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamResult {
    /// Its id, see [`super::stream_id`].
    pub id: i64,
    /// Bytes sent or received after what was omitted.
    pub bytes: u64,
    /// Segments sent again; `None` where this end does not send or does not count.
    pub retransmits: Option<u64>,
    /// Jitter of datagrams in seconds.
    pub jitter_s: f64,
    /// Datagrams lost, those of the omitted time included.
    pub lost: i64,
    /// Highest sequence number (receiver) or datagrams sent (sender), the omitted time included.
    pub packets: i64,
    /// Of these, lost and counted in the omitted time; 3.12 does not tell.
    pub omitted: Option<(i64, i64)>,
    /// Seconds from the end of the omitted time to the end.
    pub end_s: f64,
}

/// One end's account of a test.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// Processor time of this end in percent of one core.
    pub cpu_total: f64,
    /// Of it, in user mode.
    pub cpu_user: f64,
    /// Of it, in the system.
    pub cpu_system: f64,
    /// Whether the sender counts retransmits; `None` if this end only receives.
    pub has_retransmits: Option<bool>,
    /// Congestion control in use.
    pub congestion: Option<String>,
    /// Each stream.
    pub streams: Vec<StreamResult>,
    /// The server's own report as text or JSON, if it was asked for.
    pub server_output: Option<Value>,
    /// What a towline end saw of its own host.
    pub towline: Option<Value>,
}

impl Results {
    /// The message.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut object = Map::new();
        object.insert("cpu_util_total".into(), json!(self.cpu_total));
        object.insert("cpu_util_user".into(), json!(self.cpu_user));
        object.insert("cpu_util_system".into(), json!(self.cpu_system));
        let retransmits = self.has_retransmits.map_or(-1, i64::from);
        object.insert("sender_has_retransmits".into(), json!(retransmits));
        if let Some(name) = &self.congestion {
            object.insert("congestion_used".into(), json!(name));
        }
        match &self.server_output {
            Some(Value::String(text)) => {
                object.insert("server_output_text".into(), json!(text));
            }
            Some(value) => {
                object.insert("server_output_json".into(), value.clone());
            }
            None => {}
        }
        if let Some(own) = &self.towline {
            object.insert("towline".into(), own.clone());
        }
        let streams: Vec<Value> = self.streams.iter().map(StreamResult::to_value).collect();
        object.insert("streams".into(), Value::Array(streams));
        Value::Object(object)
    }

    /// Reads a peer's message.
    ///
    /// # Errors
    /// [`Fault::Frame`] when a mandatory member is missing or is no number.
    pub fn from_value(value: &Value) -> Result<Self, Fault> {
        let number = |key: &str| {
            let found = member(value, key).and_then(real);
            found.ok_or_else(|| missing(key))
        };
        let flag = member(value, "sender_has_retransmits").and_then(integer);
        let flag = flag.ok_or_else(|| missing("sender_has_retransmits"))?;
        let streams = member(value, "streams").and_then(Value::as_array);
        let streams = streams.ok_or_else(|| missing("streams"))?;
        if streams.len() > 2 * STREAMS_MAX as usize {
            return Err(broken(format!("{} streams", streams.len())));
        }
        let text = |key: &str| member(value, key).and_then(Value::as_str);
        let output = member(value, "server_output_json").or(member(value, "server_output_text"));
        Ok(Self {
            cpu_total: number("cpu_util_total")?,
            cpu_user: number("cpu_util_user")?,
            cpu_system: number("cpu_util_system")?,
            has_retransmits: (flag >= 0).then_some(flag > 0),
            congestion: text("congestion_used").map(str::to_owned),
            streams: streams
                .iter()
                .map(StreamResult::from_value)
                .collect::<Result<_, _>>()?,
            server_output: output.cloned(),
            towline: member(value, "towline").cloned(),
        })
    }

    /// The stream with this id.
    #[must_use]
    pub fn stream(&self, id: i64) -> Option<&StreamResult> {
        self.streams.iter().find(|stream| stream.id == id)
    }
}

impl StreamResult {
    fn to_value(&self) -> Value {
        let retransmits = self
            .retransmits
            .map_or(-1, |count| i64::try_from(count).unwrap_or(i64::MAX));
        let mut value = json!({
            "id": self.id,
            "bytes": self.bytes,
            "retransmits": retransmits,
            "jitter": self.jitter_s,
            "errors": self.lost,
            "packets": self.packets,
            "start_time": 0,
            "end_time": self.end_s,
        });
        if let (Some((lost, packets)), Some(object)) = (self.omitted, value.as_object_mut()) {
            object.insert("omitted_errors".into(), json!(lost));
            object.insert("omitted_packets".into(), json!(packets));
        }
        value
    }

    fn from_value(value: &Value) -> Result<Self, Fault> {
        let whole = |key: &str| member(value, key).and_then(integer);
        let must = |key: &str| whole(key).ok_or_else(|| missing(key));
        let jitter_s = member(value, "jitter").and_then(real);
        let omitted = match (whole("omitted_errors"), whole("omitted_packets")) {
            (Some(lost), Some(packets)) => Some((lost, packets)),
            (None, None) => None,
            _ => return Err(broken("half of the omitted counters".into())),
        };
        Ok(Self {
            id: must("id")?,
            bytes: u64::try_from(must("bytes")?).map_err(|_| missing("bytes"))?,
            retransmits: u64::try_from(must("retransmits")?).ok(),
            jitter_s: jitter_s.ok_or_else(|| missing("jitter"))?,
            lost: must("errors")?,
            packets: must("packets")?,
            omitted,
            end_s: member(value, "end_time").and_then(real).unwrap_or(0.0),
        })
    }

    /// Lost and counted datagrams without those of the omitted time.
    #[must_use]
    pub fn lost_and_packets(&self) -> (i64, i64) {
        let (lost, packets) = self.omitted.unwrap_or((0, 0));
        (
            self.lost.saturating_sub(lost).max(0),
            self.packets.saturating_sub(packets).max(0),
        )
    }
}

fn missing(key: &str) -> Fault {
    broken(format!("no usable {key}"))
}

fn broken(why: String) -> Fault {
    Fault::Frame {
        what: "results",
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_read_back() {
        let results = Results {
            cpu_total: 12.5,
            has_retransmits: Some(true),
            streams: vec![StreamResult {
                id: 3,
                bytes: 7,
                retransmits: Some(2),
                omitted: Some((1, 2)),
                end_s: 1.5,
                ..StreamResult::default()
            }],
            towline: Some(json!({"cores": [1]})),
            ..Results::default()
        };
        assert_eq!(Results::from_value(&results.to_value()), Ok(results));
    }

    #[test]
    fn the_results_of_a_3_12_receiver_are_read() {
        let text = r#"{"cpu_util_total":1,"cpu_util_user":0,"cpu_util_system":1,
            "sender_has_retransmits":18446744073709551615,"streams":[{"id":1,"bytes":5,
            "retransmits":18446744073709551615,"jitter":0,"errors":0,"packets":0}]}"#;
        let results = Results::from_value(&serde_json::from_str(text).unwrap()).unwrap();
        assert_eq!(results.has_retransmits, None);
        assert_eq!(results.stream(1).unwrap().retransmits, None);
        assert_eq!(results.stream(2), None);
    }

    #[test]
    fn too_many_streams_and_missing_members_are_faults() {
        let stream = Results::default().to_value();
        let mut value = stream.clone();
        value["streams"] = Value::Array(vec![json!({}); 257]);
        assert!(Results::from_value(&value).is_err());
        value["streams"] = json!([{"id": 1}]);
        assert!(Results::from_value(&value).is_err());
        assert!(Results::from_value(&json!({})).is_err());
        assert!(Results::from_value(&stream).is_ok());
    }
}
