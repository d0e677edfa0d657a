//! Made-up models: safetensors files with tensors of the sizes that real ones have.
//!
//! Invariant: a tensor's bytes depend on its seed and length only, so the same tensor is the same
//! bytes in every file. Not promised: the statistics of real weights; random bytes are the worst
//! case for whoever hopes to find them twice.

/// One tensor.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// What its bytes are made from.
    pub seed: u64,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Tensors in the order of the file.
#[derive(Clone, Debug)]
pub struct Model {
    /// The tensors.
    pub tensors: Vec<Tensor>,
}

/// Bytes without repetition (splitmix64).
#[must_use]
pub fn random(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x2545_f491_4f6c_dd1d);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

impl Model {
    /// Layers of a transformer, about `bytes` long together: in each a norm of some KiB, four
    /// projections and three larger matrices.
    #[must_use]
    pub fn of(bytes: u64, seed: u64) -> Self {
        let shares = [
            ("input_norm", 0),
            ("q", 6),
            ("k", 2),
            ("v", 2),
            ("o", 6),
            ("gate", 16),
            ("up", 16),
            ("down", 16),
        ];
        let layers = 8;
        let unit = bytes / layers / 64 / 16 * 16;
        let tensors = (0..layers).flat_map(|layer| {
            shares
                .into_iter()
                .enumerate()
                .map(move |(at, (name, share))| Tensor {
                    name: format!("model.layers.{layer}.{name}.weight"),
                    seed: seed << 32 | layer << 8 | at as u64,
                    bytes: if share == 0 { 8_192 } else { unit * share },
                })
        });
        Self {
            tensors: tensors.collect(),
        }
    }

    /// The bytes of a safetensors file, with `more` bytes of metadata in its header.
    #[must_use]
    pub fn file(&self, more: usize) -> Vec<u8> {
        let mut offset = 0;
        let mut entries = vec![format!(
            "\"__metadata__\":{{\"note\":\"{}\"}}",
            "x".repeat(more)
        )];
        for tensor in &self.tensors {
            let end = offset + tensor.bytes;
            let elements = tensor.bytes / 2;
            entries.push(format!(
                "\"{}\":{{\"dtype\":\"BF16\",\"shape\":[{elements}],\
                 \"data_offsets\":[{offset},{end}]}}",
                tensor.name
            ));
            offset = end;
        }
        let mut header = format!("{{{}}}", entries.join(","));
        // The reference writer pads to eight bytes.
        while !header.len().is_multiple_of(8) {
            header.push(' ');
        }
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        for tensor in &self.tensors {
            bytes.extend(random(tensor.seed, tensor.bytes as usize));
        }
        bytes
    }
}
