"""huggingface_hub lists a model of more files than one answer of the hub holds. Arguments:
repository, how many files it has."""

import sys

from huggingface_hub import HfApi

repo, count = sys.argv[1], int(sys.argv[2])
found = [entry.path for entry in HfApi().list_repo_tree(repo, recursive=True)]
assert found == sorted(found) and len(set(found)) == len(found) == count, len(found)
siblings = HfApi().model_info(repo).siblings
assert [sibling.rfilename for sibling in siblings] == found, len(siblings)
