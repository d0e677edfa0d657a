"""The `datasets` library reads a dataset of the node as it reads one of the Hub. Arguments: number
of rows."""

import sys

from datasets import load_dataset, load_dataset_builder

rows = int(sys.argv[1])
whole = load_dataset("acme/rows")
assert whole.num_rows == {"train": rows, "test": 3}, whole
assert whole["train"][5] == {"number": 5, "text": "row 5"}, whole["train"][5]
part = load_dataset("acme/rows", split="train[:10]")
assert part["number"] == list(range(10))
flowing = load_dataset("acme/rows", split="test", streaming=True)
assert [row["number"] for row in flowing] == [0, 1, 2]
bare = load_dataset("_/squad", split="train", revision="main")
assert bare.num_rows == rows
assert load_dataset_builder("acme/rows").info.features is not None
