"""runai-model-streamer: tensors of safetensors files straight from S3, as vLLM loads them. Arguments:
URI of the file, the same file here."""

import sys

from runai_model_streamer import SafetensorsStreamer
from safetensors.torch import load_file

uri, local = sys.argv[1:]
wanted = load_file(local)
found = {}
with SafetensorsStreamer() as streamer:
    streamer.stream_file(uri)
    for name, tensor in streamer.get_tensors():
        found[name] = tensor.clone()
assert sorted(found) == sorted(wanted), found
for name, tensor in wanted.items():
    # Bytes, not numbers: what is no number is never equal to itself.
    assert found[name].numpy().tobytes() == tensor.numpy().tobytes(), name
print("tensors:", len(found))
