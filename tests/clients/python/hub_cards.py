"""What a card and the files of a model say of it, one by one and in lists. The node has three
models: acme/chat (a card and weights), acme/mask (files only), acme/bare (nothing that says much);
they were made in this order."""

import sys

from huggingface_hub import HfApi, errors

api = HfApi()
numbers = int(sys.argv[1])

chat = api.model_info("acme/chat")
assert chat.pipeline_tag == "text-generation", chat
assert chat.library_name == "transformers", chat
assert {"tugboat", "en", "license:mit", "safetensors", "llama", "base_model:up/stream"} <= set(chat.tags), chat.tags
assert chat.card_data.license == "mit" and chat.card_data.language == ["en", "de"], chat.card_data
assert chat.safetensors.total == numbers and chat.safetensors.parameters == {"F32": numbers}, chat.safetensors
mask = api.model_info("acme/mask")
assert (mask.pipeline_tag, mask.library_name) == ("fill-mask", "transformers"), mask
assert mask.safetensors is None
bare = api.model_info("acme/bare")
assert bare.pipeline_tag is None and bare.library_name is None and bare.tags == [], bare


def listed(**named):
    return [info.id for info in api.list_models(**named)]


every = ["acme/bare", "acme/chat", "acme/mask"]
assert listed(author="acme") == every
assert listed(filter="tugboat") == ["acme/chat"]
assert listed(filter=["transformers", "license:mit"]) == ["acme/chat"]
assert listed(filter="transformers") == ["acme/chat", "acme/mask"]
assert listed(pipeline_tag="fill-mask") == ["acme/mask"]
assert listed(search="CHA") == ["acme/chat"] and listed(search="nothing") == []
assert listed(trained_dataset="some/rows") == ["acme/chat"]
assert listed(gated=True) == [] and listed(gated=False) == every
assert listed(sort="last_modified", limit=2) == ["acme/bare", "acme/mask"]
assert listed(sort="created_at") == ["acme/bare", "acme/mask", "acme/chat"]
assert listed(limit=1) == ["acme/bare"]
full = next(iter(api.list_models(search="chat", full=True, cardData=True)))
assert full.card_data.license == "mit" and full.siblings, full
try:
    listed(apps="vllm")
    raise AssertionError("an unknown filter was passed over")
except errors.HfHubHTTPError as error:
    assert error.response.status_code == 400, error
