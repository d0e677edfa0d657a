"""transformers: from_pretrained of configuration and tokenizer, cold, warm and offline; the weights
of a tiny model too where torch is there. Arguments: repository."""

import importlib.util
import sys

import transformers

repo = sys.argv[1]
for _ in ("cold", "warm"):
    config = transformers.AutoConfig.from_pretrained(repo)
    assert config.model_type == "llama" and config.hidden_size == 16, config
    tokenizer = transformers.AutoTokenizer.from_pretrained(repo)
    assert tokenizer("tow line feeds the cards").input_ids[-5:] == [3, 4, 5, 6, 7]
if len(sys.argv) > 2 and importlib.util.find_spec("torch"):
    import torch

    model = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[2])
    local = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[3])
    for (name, one), (_, other) in zip(
        sorted(model.state_dict().items()), sorted(local.state_dict().items())
    ):
        assert torch.equal(one, other), name
    print("weights:", sum(value.numel() for value in model.state_dict().values()))
