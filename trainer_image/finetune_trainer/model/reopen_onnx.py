"""Open an exported folder as its users will: a fresh process, onnxruntime and NumPy alone.

`python -m finetune_trainer.model.reopen_onnx SAMPLES ANSWERS THREADS`, as reopen.py.
"""

import sys
from typing import Any

import onnxruntime
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

TOWERS = (("image", "pixels", "images"), ("text", "tokens", "tokens"))


def main(samples: str, answers: str, threads: str) -> None:
    """Embed the samples' images (n, 3, H, W) and tokens (n, T), then the first of each alone, and save all that."""
    given = load_file(samples)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(threads)
    found: dict[str, NDArray[Any]] = {}
    for tower, name, sample in TOWERS:
        session = onnxruntime.InferenceSession(f"{tower}.onnx", options, providers=["CPUExecutionProvider"])
        for suffix, inputs in (("", given[sample]), ("_of_one", given[sample][:1])):
            found[f"{tower}_embeddings{suffix}"] = session.run(None, {name: inputs})[0]
    save_file(found, answers)


if __name__ == "__main__":
    main(*sys.argv[1:4])
