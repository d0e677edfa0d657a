"""Names of every shape, cards and lists. The node has `gpt2` (pushed with the folder), datasets
`acme/rows` and `squad`, a space `acme/app`. Arguments: the folder."""

import pathlib
import sys

from huggingface_hub import HfApi, HfFileSystem, errors, hf_hub_download, snapshot_download

folder = pathlib.Path(sys.argv[1])
api, files = HfApi(), HfFileSystem()
expected = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def judge(place):
    place = pathlib.Path(place)
    found = {
        path.relative_to(place).as_posix(): path.read_bytes()
        for path in place.rglob("*")
        if path.is_file() and ".cache" not in path.parts
    }
    assert found == expected, (sorted(found), sorted(expected))


# A model without an organisation, by its bare name, for reading and for writing.
judge(snapshot_download("gpt2"))
judge(snapshot_download("GPT2", local_dir="local"))
info = api.model_info("gpt2")
assert info.id == "gpt2" and info.author is None, info
assert api.file_exists("gpt2", "config.json") and not api.file_exists("gpt2", "absent")
api.upload_file(repo_id="gpt2", path_or_fileobj=b"more", path_in_repo="more.txt")
api.create_tag("gpt2", tag="v1")
assert pathlib.Path(hf_hub_download("gpt2", "more.txt", revision="v1")).read_bytes() == b"more"
made = api.create_repo("bert-base-uncased").repo_id
# The library has no URL for a name without an organisation since 1.0; `_` stands for none.
assert made in ("bert-base-uncased", "_/bert-base-uncased"), made
api.upload_folder(repo_id=made, folder_path=folder)
api.upload_folder(repo_id="bert-base-uncased", folder_path=folder)
api.upload_folder(repo_id="bert-base-uncased", folder_path=folder)
judge(snapshot_download("bert-base-uncased"))
for twin in ("gpt2/x", "BERT-base-uncased/x"):
    try:
        api.create_repo(twin)
        raise AssertionError(f"{twin} was made")
    except errors.HfHubHTTPError as error:
        assert error.response.status_code in (400, 403), error

assert api.model_info("_/gpt2").id == "gpt2"
assert files.exists("_/gpt2/config.json") and files.exists("datasets/_/squad/config.json")

# Datasets and spaces have names, lists and files of their own.
for kind, name in (("dataset", "acme/rows"), ("dataset", "squad"), ("space", "acme/app")):
    judge(snapshot_download(name, repo_type=kind))
    info = api.repo_info(name, repo_type=kind)
    assert info.id == name, info
    assert not api.repo_exists(name), name
    assert sorted(api.list_repo_files(name, repo_type=kind)) == sorted(expected)
    assert [ref.name for ref in api.list_repo_refs(name, repo_type=kind).branches] == ["main"]
assert sorted(info.id for info in api.list_datasets()) == ["acme/rows", "squad"]
assert [info.id for info in api.list_datasets(author="acme")] == ["acme/rows"]
assert [info.id for info in api.list_spaces()] == ["acme/app"]
for path in ("datasets/acme/rows", "spaces/acme/app"):
    listed = files.find(path)
    assert sorted(listed) == sorted(f"{path}/{name}" for name in expected), listed
    assert files.read_bytes(f"{path}/sub dir/a+b.txt") == expected["sub dir/a+b.txt"]
    assert files.glob(f"{path}/*.safetensors") == [f"{path}/model.safetensors"]
with files.open("datasets/acme/rows/model.safetensors") as opened:
    opened.seek(1000)
    assert opened.read(64) == expected["model.safetensors"][1000:1064]

# They are written like models.
made = api.create_repo("acme/made", repo_type="dataset")
assert (made.repo_id, made.repo_type) == ("acme/made", "dataset"), made
api.upload_folder(repo_id="acme/made", folder_path=folder, repo_type="dataset")
again = api.upload_folder(repo_id="acme/made", folder_path=folder, repo_type="dataset")
assert again.oid == api.dataset_info("acme/made").sha
api.create_branch("acme/made", branch="try/it", repo_type="dataset")
judge(snapshot_download("acme/made", repo_type="dataset", revision="try/it"))
api.move_repo("acme/made", "acme/renamed", repo_type="dataset")
api.super_squash_history("acme/renamed", repo_type="dataset")
assert len(api.list_repo_commits("acme/renamed", repo_type="dataset")) == 1
api.delete_repo("acme/renamed", repo_type="dataset")
assert not api.repo_exists("acme/renamed", repo_type="dataset")
api.create_repo("acme/page", repo_type="space", space_sdk="static")
api.delete_repo("acme/page", repo_type="space")
