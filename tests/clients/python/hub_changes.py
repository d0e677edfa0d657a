"""Everything that huggingface_hub changes in a repository, as people use it. Arguments: the folder
to upload, whether URLs with a whole name can be told (1) or not (0)."""

import pathlib
import sys

import huggingface_hub
import requests_like
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, HfApi, ModelCard, errors

folder = pathlib.Path(sys.argv[1])
api = HfApi()
repo = "acme/changed"


def fails(kind, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except kind as error:
        return error
    raise AssertionError(f"{call} did not fail")


# A repository is there once it was created, and has nothing in it.
url = api.create_repo(repo)
assert url.repo_id == repo and url.repo_type in (None, "model"), url
assert api.repo_exists(repo) and not api.repo_exists("acme/other")
assert api.list_repo_files(repo) == [] and api.model_info(repo).siblings == []
assert fails(errors.HfHubHTTPError, api.create_repo, repo).response.status_code == 409
fails(errors.RepositoryNotFoundError, api.upload_file, repo_id="acme/other", path_or_fileobj=b"x", path_in_repo="x")

# The same folder twice is one commit; the second call says so and fails nothing.
first = api.upload_folder(repo_id=repo, folder_path=folder, commit_message="first")
again = api.upload_folder(repo_id=repo, folder_path=folder, commit_message="again")
assert first.oid == again.oid == api.model_info(repo).sha, (first, again)
assert first.repo_url.repo_id == again.repo_url.repo_id == repo
names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
assert sorted(api.list_repo_files(repo)) == names

# What .gitignore leaves out stays at home.
operations = [
    CommitOperationAdd(".gitignore", b"*.key\nsecret/\n"),
    CommitOperationAdd("a.key", b"k"),
    CommitOperationAdd("secret/b.txt", b"s"),
    CommitOperationAdd("c.txt", b"c"),
]
api.create_commit(repo, operations, commit_message="ignore")
found = set(api.list_repo_files(repo))
assert {".gitignore", "c.txt"} <= found and not {"a.key", "secret/b.txt"} & found, found
api.upload_file(repo_id=repo, path_or_fileobj=b"d", path_in_repo="d.key")
assert "d.key" not in api.list_repo_files(repo)

# Branches, one with slashes; tags; each is what it is.
api.create_branch(repo, branch="feature/x")
api.create_branch(repo, branch="feature/x", exist_ok=True)
fails(errors.HfHubHTTPError, api.create_branch, repo, branch="feature/x")
api.upload_file(repo_id=repo, path_or_fileobj=b"on it", path_in_repo="f.txt", revision="feature/x")
assert api.file_exists(repo, "f.txt", revision="feature/x") and not api.file_exists(repo, "f.txt")
on_it = pathlib.Path(api.hf_hub_download(repo, "f.txt", revision="feature/x"))
assert on_it.read_bytes() == b"on it"
api.create_tag(repo, tag="v1.0", revision="feature/x")
api.create_tag(repo, tag="v1.0", revision="feature/x", exist_ok=True)
fails(errors.HfHubHTTPError, api.create_tag, repo, tag="v1.0")
fails(errors.RevisionNotFoundError, api.create_tag, repo, tag="v2", revision="absent")
refs = api.list_repo_refs(repo, include_pull_requests=True)
assert [(ref.name, ref.ref) for ref in refs.branches] == [
    ("feature/x", "refs/heads/feature/x"),
    ("main", "refs/heads/main"),
], refs
assert [(ref.name, ref.ref) for ref in refs.tags] == [("v1.0", "refs/tags/v1.0")], refs
tagged = api.model_info(repo, revision="v1.0").sha
said = fails(errors.HfHubHTTPError, api.upload_file, repo_id=repo, path_or_fileobj=b"x", path_in_repo="x", revision="v1.0")
assert said.response.status_code == 400 and "is a tag" in str(said), said
assert api.model_info(repo, revision="v1.0").sha == tagged
fails(errors.RevisionNotFoundError, api.delete_branch, repo, branch="v1.0")
fails(errors.RevisionNotFoundError, api.delete_tag, repo, tag="feature/x")
fails(errors.HfHubHTTPError, api.delete_branch, repo, branch="main")
api.delete_tag(repo, tag="v1.0")
fails(errors.RevisionNotFoundError, api.delete_tag, repo, tag="v1.0")
api.delete_branch(repo, branch="feature/x")
fails(errors.RevisionNotFoundError, api.model_info, repo, revision="feature/x")

# Files and folders go.
api.delete_file("c.txt", repo)
api.delete_folder("sub dir", repo)
api.delete_files(repo, ["*.json"])
assert not [name for name in api.list_repo_files(repo) if name.startswith("sub dir") or name.endswith(".json")]
copy = CommitOperationCopy("model.safetensors", "copy.safetensors")
api.create_commit(repo, [copy], commit_message="copy")
assert api.file_exists(repo, "copy.safetensors")

# One commit is left of the history.
before = api.list_repo_commits(repo)
files = api.list_repo_files(repo)
assert len(before) > 5, before
api.super_squash_history(repo, commit_message="all in one")
after = api.list_repo_commits(repo)
assert [commit.title for commit in after] == ["all in one"], after
assert api.list_repo_files(repo) == files

# Whether one may, and what was said of it.
api.auth_check(repo)
fails(errors.RepositoryNotFoundError, api.auth_check, "acme/other")
assert list(api.get_repo_discussions(repo)) == []

# A name is found however it is written, and its twin is not made.
assert api.model_info("ACME/Changed").id == repo
twin = fails(errors.HfHubHTTPError, api.create_repo, "Acme/changed")
assert twin.response.status_code in (403, 409), twin

# Another name.
api.move_repo(repo, "acme/moved")
assert api.list_repo_files("acme/moved") == files and not api.repo_exists(repo)
assert api.list_repo_commits("acme/moved")[0].commit_id == after[0].commit_id
target = fails(errors.HfHubHTTPError, api.move_repo, "acme/moved", "acme/tiny-llama")
assert target.response.status_code == 400, target

# A card, for a name that is new; whoever looks it over needs no token.
card = ModelCard("---\nlicense: mit\ntags:\n- tugboat\n---\n# A card\n")
looked_over = {"content": str(card), "repoType": "model"}
status, said = requests_like.ask(HfApi(token=False), "POST", "/api/validate-yaml", looked_over)
assert (status, said) == (200, {"errors": [], "warnings": []}), (status, said)
api.create_repo("acme/pushed", exist_ok=True)
if huggingface_hub.__version__.startswith("0."):
    # Its `validate` asks huggingface.co whatever the endpoint is.
    api.upload_file(repo_id="acme/pushed", path_or_fileobj=str(card).encode(), path_in_repo="README.md")
else:
    card.push_to_hub("acme/pushed")
assert ModelCard.load("acme/pushed").data.license == "mit"
info = api.model_info("acme/pushed")
assert {"tugboat", "license:mit"} <= set(info.tags), info.tags
assert info.card_data.license == "mit", info

# All files, then the repository itself.
api.delete_files("acme/pushed", api.list_repo_files("acme/pushed"))
assert api.list_repo_files("acme/pushed") == [] and api.repo_exists("acme/pushed")
for name in ("acme/pushed", "acme/moved"):
    api.delete_repo(name)
    assert not api.repo_exists(name)
    fails(errors.RepositoryNotFoundError, api.delete_repo, name)
    api.delete_repo(name, missing_ok=True)
