"""transformers pushes a tokenizer and a configuration to names that are new. Arguments: repository
to read from, repository to write to."""

import sys

import transformers

source, target = sys.argv[1:]
tokenizer = transformers.AutoTokenizer.from_pretrained(source)
config = transformers.AutoConfig.from_pretrained(source)
for _ in ("new", "again"):
    tokenizer.push_to_hub(target)
    config.push_to_hub(target)
again = transformers.AutoTokenizer.from_pretrained(target)
assert again("tow line feeds").input_ids == tokenizer("tow line feeds").input_ids
assert transformers.AutoConfig.from_pretrained(target).hidden_size == config.hidden_size
