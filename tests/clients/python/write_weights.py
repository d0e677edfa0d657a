"""Model files by the writers of their formats: model.safetensors and model.gguf in the directory
that is the argument. Prints the number of tensors in each and the bytes that they hold."""

import sys

import gguf
import numpy
from safetensors.numpy import save_file

COUNT = 9
directory = sys.argv[1]
random = numpy.random.default_rng(5)
tensors = {
    f"blk.{at}.weight": random.standard_normal((400 + 7 * at, 500), dtype=numpy.float32)
    for at in range(COUNT)
}
save_file(tensors, f"{directory}/model.safetensors", metadata={"format": "pt"})

writer = gguf.GGUFWriter(f"{directory}/model.gguf", "llama")
writer.add_block_count(COUNT)
writer.add_context_length(128)
writer.add_tokenizer_model("gpt2")
writer.add_token_list([f"token{at}".encode() for at in range(5000)])
for name, tensor in tensors.items():
    writer.add_tensor(name, tensor)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()

print(COUNT, sum(tensor.nbytes for tensor in tensors.values()))
