"""huggingface_hub: whole snapshots, single files, warm and cold, by branch and by commit, and what
it makes of every refusal. Arguments: repository, commit, directory to fill."""

import os
import sys

import huggingface_hub as hub
from huggingface_hub import errors

repo, commit, target = sys.argv[1:]


def fails(kind, call, **arguments):
    try:
        call(**arguments)
    except kind as error:
        return error
    raise AssertionError(f"{call} {arguments} did not raise {kind}")


first = hub.snapshot_download(repo)
assert first.endswith(commit), first
assert hub.snapshot_download(repo) == first
assert hub.snapshot_download(repo, revision=commit) == first
assert hub.snapshot_download(repo, revision="main", cache_dir=target + "/cold").endswith(commit)
hub.snapshot_download(repo, local_dir=target + "/local")
hub.snapshot_download(repo, local_dir=target + "/local")
one = hub.hf_hub_download(repo, "sub dir/a+b.txt")
assert open(one).read() == "hi\n"
assert hub.hf_hub_download(repo, "sub dir/a+b.txt", revision=commit) == one
assert os.path.getsize(hub.hf_hub_download(repo, "empty.txt")) == 0

api = hub.HfApi()
info = api.model_info(repo, files_metadata=True)
weights = [file for file in info.siblings if file.rfilename == "model.safetensors"][0]
assert info.sha == commit and weights.lfs.sha256 and weights.size > 24_000_000
names = [file.rfilename for file in info.siblings]
assert sorted(api.list_repo_files(repo)) == sorted(names), names
tree = {entry.path: entry for entry in api.list_repo_tree(repo, recursive=True, expand=True)}
assert tree["sub dir/a+b.txt"].last_commit.oid == commit
assert tree["model.safetensors"].lfs.sha256 == weights.lfs.sha256
some = api.get_paths_info(repo, ["config.json", "sub dir", "absent"])
assert [entry.path for entry in some] == ["config.json", "sub dir"], some
refs = api.list_repo_refs(repo)
assert [branch.name for branch in refs.branches] == ["main"]
assert refs.branches[0].target_commit == commit
assert [entry.commit_id for entry in api.list_repo_commits(repo)] == [commit]
assert repo in [model.id for model in api.list_models(search="TINY")]
assert api.repo_exists(repo) and not api.repo_exists("acme/absent")
assert api.file_exists(repo, "config.json") and not api.file_exists(repo, "absent")
assert api.revision_exists(repo, commit) and not api.revision_exists(repo, "absent")

fails(errors.EntryNotFoundError, hub.hf_hub_download, repo_id=repo, filename="absent.json")
mark = os.path.join(os.path.dirname(os.path.dirname(first)), ".no_exist", commit, "absent.json")
assert os.path.exists(mark), "that a file is absent was not remembered"
call = dict(repo_id=repo, filename="config.json", revision="absent")
fails(errors.RevisionNotFoundError, hub.hf_hub_download, **call)
fails(errors.RevisionNotFoundError, api.model_info, repo_id=repo, revision="0" * 40)
fails(errors.RepositoryNotFoundError, hub.hf_hub_download, repo_id="acme/absent", filename="x")
fails(errors.RepositoryNotFoundError, api.dataset_info, repo_id="acme/absent")
# 0.36 raises what its HTTP library raises.
error = fails(OSError, api.whoami, token="hf_" + "x" * 34)
assert "Invalid user token" in str(error), error
print("whole:", first)
