"""What the Hub would refuse or keep private, asked of a node: each call is refused in words, and
nothing has changed. Arguments: repository that is public here, repository below a private prefix."""

import sys

import requests_like
from huggingface_hub import CommitOperationAdd, HfApi, errors

public, private = sys.argv[1:]
api = HfApi()


def refused(words, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except errors.HfHubHTTPError as error:
        assert error.response.status_code == 400, (call, error)
        assert words in str(error), (words, str(error))
        return
    raise AssertionError(f"{call} was not refused")


before = api.model_info(public).sha
add = [CommitOperationAdd("x", b"x")]
refused("create_pr", api.create_commit, public, add, commit_message="x", create_pr=True)
refused("create_pr", api.upload_file, repo_id=public, path_or_fileobj=b"x", path_in_repo="x", create_pr=True)
refused("create_pr", api.delete_file, "config.json", public, create_pr=True)
refused("create_pr", api.preupload_lfs_files, public, add, create_pr=True)
refused("discussions", api.create_discussion, public, title="a title")
refused("discussions", api.create_pull_request, public, title="a title")

# A name that is not private here is not created, and one that is may be asked for.
new = public + "-new"
refused("[[models.tokens]]", api.create_repo, new, private=True)
refused("[[models.tokens]]", api.create_repo, new, private=True, exist_ok=True)
assert not api.repo_exists(new)
refused("[[models.tokens]]", api.create_repo, public, private=True, exist_ok=True)
refused("[[models.tokens]]", api.update_repo_settings, public, private=True)
refused("[[models.tokens]]", api.update_repo_settings, public, gated="auto")
assert api.create_repo(private, private=True).repo_id == private
assert api.model_info(private).private is True
assert api.model_info(public).private is False
api.update_repo_settings(private, private=True)
api.update_repo_settings(public, gated=False)
refused("private", api.move_repo, private, public + "-moved")
assert api.repo_exists(private)

refused("resource groups", api.create_repo, new, resource_group_id="g")
for name, value in {"space_hardware": "cpu-basic", "space_secrets": [{"key": "a", "value": "b"}]}.items():
    refused("does not run them", api.create_repo, new, repo_type="space", space_sdk="static", **{name: value})
refused("message", api.create_tag, public, tag="v9", tag_message="words")

# Parameters that no version of the library sends today.
for method, path, body in [
    ("POST", f"/api/models/{public}/commit/main?visibility=private", ""),
    ("POST", f"/api/models/{public}/branch/other", {"overwrite": True}),
    ("POST", f"/api/models/{public}/tag/main", {"tag": "v9", "force": True}),
    ("POST", f"/api/models/{public}/super-squash/main", {"dryRun": True}),
    ("POST", f"/api/models/{public}/preupload/main", {"files": [], "private": True}),
    ("POST", "/api/repos/create", {"name": "x", "organization": "acme", "license": "mit"}),
    ("POST", "/api/repos/create", {"name": "x", "organization": "acme", "visibility": "protected"}),
    ("DELETE", "/api/repos/delete", {"name": "x", "organization": "acme", "soft": True}),
    ("POST", "/api/repos/move", {"fromRepo": public, "toRepo": new, "type": "model", "copy": True}),
    ("PUT", f"/api/models/{public}/settings", {"discussionsDisabled": True}),
]:
    status, said = requests_like.ask(api, method, path, body)
    assert status == 400 and "error" in said, (path, status, said)
for method, path in [
    ("POST", f"/api/models/{public}/like"),
    ("POST", "/api/collections"),
    ("PUT", f"/api/models/{public}/resource-group"),
]:
    status, said = requests_like.ask(api, method, path, {})
    assert status == 404 and "error" in said, (path, status, said)

assert api.model_info(public).sha == before
assert [ref.name for ref in api.list_repo_refs(public).branches] == ["main"]
assert api.list_repo_refs(public).tags == []
