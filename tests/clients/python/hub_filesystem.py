"""HfFileSystem of huggingface_hub: list, find, look, read from the middle. Arguments: repository,
directory with the same files."""

import os
import sys

from huggingface_hub import HfFileSystem

repo, source = sys.argv[1:]
files = HfFileSystem()
here = set(os.listdir(source))
listed = files.ls(repo, detail=True)
assert {os.path.basename(entry["name"]) for entry in listed} == here, listed
found = {path[len(repo) + 1 :] for path in files.find(repo)}
wanted = {
    os.path.relpath(os.path.join(above, name), source)
    for above, _, names in os.walk(source)
    for name in names
}
assert found == wanted, (found, wanted)
assert files.glob(repo + "/*.safetensors") == [repo + "/model.safetensors"]
info = files.info(repo + "/model.safetensors")
size = os.path.getsize(source + "/model.safetensors")
assert info["size"] == size and info["type"] == "file", info
assert files.info(repo + "/sub dir")["type"] == "directory"
assert files.isdir(repo + "/sub dir/deep") and not files.exists(repo + "/absent")
assert files.modified(repo + "/config.json").year >= 2024
with open(source + "/model.safetensors", "rb") as local:
    with files.open(repo + "/model.safetensors", block_size=1 << 20) as remote:
        for place, length in [(0, 8), (1_000_003, 70_001), (size - 17, 100), (12_000_000, 3 << 20)]:
            local.seek(place)
            remote.seek(place)
            assert remote.read(length) == local.read(length), place
    local.seek(0)
    assert files.cat_file(repo + "/model.safetensors") == local.read()
assert files.cat_file(repo + "/sub dir/a+b.txt", start=1, end=2) == b"i"
