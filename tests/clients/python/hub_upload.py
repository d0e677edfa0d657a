"""huggingface_hub's API for what `hf upload` does not do alone: deletions, a commit on a parent, a
stale parent, a branch, and refusals. Arguments: repository, token of somebody else."""

import sys

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub import errors

repo, other = sys.argv[1:]
api = HfApi()


def fails(status, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except errors.HfHubHTTPError as error:
        assert error.response.status_code == status, (status, error)
        return
    raise AssertionError(f"{call} did not fail with {status}")


before = api.model_info(repo)
assert api.create_repo(repo, exist_ok=True).repo_id == repo
fails(409, api.create_repo, repo)
commit = api.create_commit(
    repo,
    [
        CommitOperationAdd("notes/new.txt", b"new\n"),
        CommitOperationDelete("README.md"),
        CommitOperationDelete("sub dir/", is_folder=True),
    ],
    commit_message="change",
    parent_commit=before.sha,
)
after = api.model_info(repo)
assert after.sha == commit.oid != before.sha, (after.sha, commit)
names = {file.rfilename for file in after.siblings}
assert "notes/new.txt" in names and "README.md" not in names, names
assert not any(name.startswith("sub dir/") for name in names), names
assert [entry.commit_id for entry in api.list_repo_commits(repo)][:2] == [after.sha, before.sha]
stale = [CommitOperationAdd("x", b"x")]
fails(412, api.create_commit, repo, stale, commit_message="x", parent_commit=before.sha)
api.create_branch(repo, branch="try")
api.upload_file(repo_id=repo, path_or_fileobj=b"on a branch", path_in_repo="b.txt", revision="try")
assert api.file_exists(repo, "b.txt", revision="try") and not api.file_exists(repo, "b.txt")
fails(400, api.upload_file, repo_id=repo, path_or_fileobj=b"x", path_in_repo="a/con")
fails(403, api.create_repo, "foreign/model")
add = [CommitOperationAdd("x", b"x")]
for token in (other, False):
    fails(401, HfApi(token=token).create_commit, repo, add, commit_message="x")
assert api.model_info(repo).sha == after.sha
