"""Makes a tiny Llama with random weights in two shards. Argument: the directory to make."""

import sys

import torch
import transformers

torch.manual_seed(7)
config = transformers.LlamaConfig(
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=64,
)
model = transformers.LlamaForCausalLM(config)
model.save_pretrained(sys.argv[1], max_shard_size="40KB")
