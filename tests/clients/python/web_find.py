"""fsspec over HTTP: lists a folder and finds everything below it. Argument: URL. Prints how many."""

import sys

import fsspec

url = sys.argv[1]
files = fsspec.filesystem("http")
listed = files.ls(url, detail=False)
assert all(name.startswith(url) and name != url for name in listed), listed[:5]
found = files.find(url)
assert all(name.startswith(url) for name in found), found[:5]
print(len(found))
