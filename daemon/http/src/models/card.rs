//! What the files of a revision say of it: the card in its README, its configuration, its weights.
//!
//! Governed by the metadata of model and dataset cards of the Hub: YAML between two lines of `---`.
//! Of YAML only what cards need is read: keys at the top with a text, a list of texts or nothing;
//! what has more below it is passed over. Invariant: what comes out is bounded in number and
//! length whatever a card holds. Not promised: that whatever YAML means is understood.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use towline_store::RepoKind;

/// Most of a README that is looked at for its card, in bytes.
pub(crate) const README_BYTES_MAX: usize = 64 << 10;

/// Most of a configuration that is read, in bytes: a long one lists a vocabulary of labels.
pub(crate) const CONFIG_BYTES_MAX: usize = 1 << 20;

/// Most keys of a card.
const KEYS_MAX: usize = 64;

/// Most texts of one list, and most tags.
const LIST_MAX: usize = 128;

/// Longest text that is taken over, in bytes.
const TEXT_BYTES_MAX: usize = 256;

/// Keys of a dataset's card that become tags with their own name in front.
const DATASET_KEYS: [&str; 9] = [
    "task_categories",
    "task_ids",
    "language",
    "size_categories",
    "license",
    "multilinguality",
    "language_creators",
    "annotations_creators",
    "source_datasets",
];

/// What the last part of an architecture's name says that a model is for.
const TASKS: [(&str, &str); 9] = [
    ("ForCausalLM", "text-generation"),
    ("LMHeadModel", "text-generation"),
    ("ForMaskedLM", "fill-mask"),
    ("ForSequenceClassification", "text-classification"),
    ("ForTokenClassification", "token-classification"),
    ("ForQuestionAnswering", "question-answering"),
    ("ForImageClassification", "image-classification"),
    ("ForSpeechSeq2Seq", "automatic-speech-recognition"),
    ("ForCTC", "automatic-speech-recognition"),
];

/// What is said of a revision.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Card {
    pub(crate) pipeline_tag: Option<String>,
    pub(crate) library_name: Option<String>,
    pub(crate) tags: Vec<String>,
    /// The card itself.
    pub(crate) data: Map<String, Value>,
    /// Of the configuration what lists show.
    pub(crate) config: Option<Value>,
    /// Numbers in the weights, by the type of number.
    pub(crate) parameters: BTreeMap<String, u64>,
}

/// What a card is made of.
#[derive(Debug, Default)]
pub(crate) struct Parts<'a> {
    pub(crate) readme: &'a [u8],
    pub(crate) config: &'a [u8],
    /// Paths of all files.
    pub(crate) paths: &'a [&'a str],
    pub(crate) parameters: BTreeMap<String, u64>,
}

impl Card {
    /// Reads the parts.
    pub(crate) fn of(kind: RepoKind, parts: Parts<'_>) -> Self {
        let data = front(&String::from_utf8_lossy(parts.readme));
        let mut card = Self {
            data,
            parameters: parts.parameters,
            ..Self::default()
        };
        match kind {
            RepoKind::Model => card.model(parts.config, parts.paths),
            RepoKind::Dataset => card.dataset(),
            RepoKind::Space => card.push_all("", "tags"),
        }
        card
    }

    /// How many numbers the weights have.
    pub(crate) fn total(&self) -> u64 {
        self.parameters.values().sum()
    }

    fn model(&mut self, config: &[u8], paths: &[&str]) {
        let config: Value = serde_json::from_slice(config).unwrap_or_default();
        let text = |key: &str| config.get(key).and_then(Value::as_str).and_then(short);
        let architectures = config.get("architectures").and_then(Value::as_array);
        let architecture = architectures
            .and_then(|list| list.first())
            .and_then(Value::as_str)
            .and_then(short);
        let model_type = text("model_type");
        let has = |name: &str| paths.contains(&name);
        let ends = |end: &str| paths.iter().any(|path| path.ends_with(end));
        let is_sentence = has("config_sentence_transformers.json") || has("modules.json");
        let library = match () {
            () if is_sentence => Some("sentence-transformers"),
            () if has("adapter_config.json") => Some("peft"),
            () if has("model_index.json") => Some("diffusers"),
            () if model_type.is_some() || architecture.is_some() => Some("transformers"),
            () => None,
        };
        let task = architecture.as_deref().and_then(task);
        let task = if is_sentence {
            Some("sentence-similarity")
        } else {
            task
        };
        self.library_name = self.text("library_name").or(library.map(str::to_owned));
        self.pipeline_tag = self.text("pipeline_tag").or(task.map(str::to_owned));
        if architecture.is_some() || model_type.is_some() {
            let list: Vec<_> = architecture.iter().collect();
            let shown = json!({ "architectures": list, "model_type": model_type });
            self.config = Some(shown);
        }
        let formats = ["safetensors", "gguf", "onnx"];
        let formats = formats.into_iter().filter(|end| ends(&format!(".{end}")));
        let found = self.library_name.clone().into_iter();
        let found = found.chain(formats.map(str::to_owned)).chain(model_type);
        for tag in found.chain(self.pipeline_tag.clone()).collect::<Vec<_>>() {
            self.push(tag);
        }
        self.push_all("", "language");
        self.push_all("", "tags");
        self.push_all("dataset:", "datasets");
        self.push_all("base_model:", "base_model");
        self.push_all("license:", "license");
    }

    fn dataset(&mut self) {
        for key in DATASET_KEYS {
            self.push_all(&format!("{key}:"), key);
        }
        self.push_all("", "tags");
    }

    fn text(&self, key: &str) -> Option<String> {
        self.data
            .get(key)
            .and_then(Value::as_str)
            .map(str::to_owned)
    }

    /// Makes tags of a text or of each text of a list.
    fn push_all(&mut self, start: &str, key: &str) {
        let texts: Vec<String> = match self.data.get(key) {
            Some(Value::String(text)) => vec![text.clone()],
            Some(Value::Array(list)) => {
                let texts = list.iter().filter_map(Value::as_str);
                texts.map(str::to_owned).collect()
            }
            _ => Vec::new(),
        };
        for text in texts {
            self.push(format!("{start}{text}"));
        }
    }

    fn push(&mut self, tag: String) {
        if self.tags.len() < LIST_MAX && !self.tags.contains(&tag) {
            self.tags.push(tag);
        }
    }
}

fn task(architecture: &str) -> Option<&'static str> {
    let mut tasks = TASKS.into_iter();
    tasks
        .find(|(end, _)| architecture.ends_with(end))
        .map(|(_, task)| task)
}

fn short(text: &str) -> Option<String> {
    (text.len() <= TEXT_BYTES_MAX).then(|| text.to_owned())
}

/// The lines between the two of `---` at the start of a text.
fn lines(readme: &str) -> Option<impl Iterator<Item = &str>> {
    let readme = readme.strip_prefix('\u{feff}').unwrap_or(readme);
    let mut lines = readme.lines();
    (lines.next()?.trim_end() == "---").then(|| lines.take_while(|line| line.trim_end() != "---"))
}

/// The card at the start of a README.
fn front(readme: &str) -> Map<String, Value> {
    let mut card = Map::new();
    let Some(lines) = lines(readme) else {
        return card;
    };
    // The key whose list comes in the next lines, and what has come of it.
    let mut open: Option<(String, Vec<Value>)> = None;
    let close = |open: Option<(String, Vec<Value>)>, card: &mut Map<String, Value>| {
        if let Some((key, list)) = open
            && !list.is_empty()
        {
            card.insert(key, Value::Array(list));
        }
    };
    for line in lines {
        let bare = line.trim();
        if bare.is_empty() || bare.starts_with('#') {
            continue;
        }
        if let Some(item) = bare.strip_prefix("- ").or(bare.strip_prefix('-')) {
            let is_text = !item.contains(": ") && !item.trim_end().ends_with(':');
            match (&mut open, scalar(item)) {
                (Some((_, list)), Some(value)) if is_text => {
                    if list.len() < LIST_MAX {
                        list.push(value);
                    }
                }
                _ => open = None,
            }
            continue;
        }
        if line.starts_with([' ', '\t']) {
            // Something has more below it than a list: it is passed over.
            open = None;
            continue;
        }
        close(open.take(), &mut card);
        let Some((key, rest)) = bare.split_once(':') else {
            continue;
        };
        if card.len() >= KEYS_MAX || key.len() > TEXT_BYTES_MAX {
            break;
        }
        let (key, rest) = (unquoted(key.trim()).to_owned(), rest.trim());
        if rest.is_empty() || rest.starts_with('#') {
            open = Some((key, Vec::new()));
        } else if let Some(list) = rest.strip_prefix('[') {
            let list = list.split(']').next().unwrap_or_default();
            let items = list.split(',').filter_map(scalar).take(LIST_MAX);
            card.insert(key, items.collect());
        } else if let Some(value) = scalar(rest) {
            card.insert(key, value);
        }
    }
    close(open, &mut card);
    card
}

/// A text, or a truth value; `None` for what is none or too long.
fn scalar(text: &str) -> Option<Value> {
    let text = text.trim();
    let is_quoted = text.starts_with(['"', '\'']);
    let text = match text.find(" #") {
        Some(end) if !is_quoted => text.get(..end)?.trim_end(),
        _ => text,
    };
    if text.is_empty() || text.len() > TEXT_BYTES_MAX || text.starts_with(['{', '|', '>', '&', '*'])
    {
        return None;
    }
    Some(match text {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "null" | "~" => return None,
        text => Value::String(unquoted(text).to_owned()),
    })
}

fn unquoted(text: &str) -> &str {
    for quote in ['"', '\''] {
        let inner = text.strip_prefix(quote);
        if let Some(inner) = inner.and_then(|text| text.strip_suffix(quote)) {
            return inner;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str = "---\r\nlicense: mit # free\nlanguage:\n- en\n- \"de\"\n\
        tags: [chat, 'x y']\ndatasets:\n  - a/b\nmodel-index:\n- name: x\n  results:\n  - task: y\n\
        foo: |\n  block\n\
        pipeline_tag: text-generation\nbase_model: up/stream\n\
        gated: false\n---\nlicense: no\n";

    #[test]
    fn the_card_of_a_model_is_read() {
        let parts = Parts {
            readme: README.as_bytes(),
            config: br#"{"architectures":["LlamaForCausalLM"],"model_type":"llama"}"#,
            paths: &["config.json", "model.safetensors"],
            parameters: BTreeMap::from([("F32".to_owned(), 7), ("BF16".to_owned(), 3)]),
        };
        let card = Card::of(RepoKind::Model, parts);
        assert_eq!(card.pipeline_tag.as_deref(), Some("text-generation"));
        assert_eq!(card.library_name.as_deref(), Some("transformers"));
        let expected = [
            "transformers",
            "safetensors",
            "llama",
            "text-generation",
            "en",
            "de",
            "chat",
            "x y",
            "dataset:a/b",
            "base_model:up/stream",
            "license:mit",
        ];
        assert_eq!(card.tags, expected);
        assert_eq!(card.total(), 10);
        assert_eq!(card.data["gated"], Value::Bool(false));
        assert_eq!(card.data["language"], json!(["en", "de"]));
        for absent in ["model-index", "foo", "name"] {
            assert!(!card.data.contains_key(absent), "{absent}");
        }
    }

    #[test]
    fn what_no_card_says_the_files_say() {
        let parts = Parts {
            config: br#"{"architectures":["BertForMaskedLM"]}"#,
            paths: &["config.json"],
            ..Parts::default()
        };
        let card = Card::of(RepoKind::Model, parts);
        assert_eq!(card.pipeline_tag.as_deref(), Some("fill-mask"));
        let nothing = Card::of(RepoKind::Model, Parts::default());
        assert_eq!(nothing, Card::default());
        let readme =
            "---\ntask_categories:\n- question-answering\nsize_categories: [1K<n<10K]\n---";
        let parts = Parts {
            readme: readme.as_bytes(),
            ..Parts::default()
        };
        let tags = Card::of(RepoKind::Dataset, parts).tags;
        assert_eq!(
            tags,
            [
                "task_categories:question-answering",
                "size_categories:1K<n<10K"
            ]
        );
    }

    #[test]
    fn whatever_a_card_holds_little_is_kept() {
        let many: String = (0..10_000).map(|n| format!("- t{n}\n")).collect();
        let keys: String = (0..10_000).map(|n| format!("k{n}: v\n")).collect();
        let long = "x".repeat(5_000);
        let readme = format!("---\ntags:\n{many}long: {long}\n{keys}");
        let parts = Parts {
            readme: readme.as_bytes(),
            config: b"{",
            ..Parts::default()
        };
        let card = Card::of(RepoKind::Model, parts);
        assert!(card.tags.len() <= LIST_MAX && card.data.len() <= KEYS_MAX);
        assert!(!card.data.contains_key("long"));
        for broken in [
            "---",
            "--- x",
            "---\n:\n-\n- \n: :\n[\n'\n\"",
            "\u{feff}---\na: b\n",
        ] {
            let parts = Parts {
                readme: broken.as_bytes(),
                ..Parts::default()
            };
            Card::of(RepoKind::Model, parts);
        }
    }
}
