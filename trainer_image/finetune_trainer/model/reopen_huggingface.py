"""Open an exported folder as its users will: a fresh process and transformers alone.

`python -m finetune_trainer.model.reopen_huggingface SAMPLES ANSWERS THREADS`, as reopen.py.
"""

import json
import sys
import warnings
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import CLIPModel, CLIPProcessor


def main(samples: str, answers: str, threads: str) -> None:
    """Embed the samples' images (n, 3, H, W) and tokens (n, T), tokenize its captions, and save all that.

    Exits with a message where the file's tensors are not the model's.
    """
    torch.set_num_threads(int(threads))
    with safe_open(samples, "pt") as given:
        images, tokens = given.get_tensor("images"), given.get_tensor("tokens")
        captions = json.loads(given.metadata()["captions"])
    loaded: Any = CLIPModel.from_pretrained(".", output_loading_info=True)
    model, loading = loaded
    if odd := [name for kind in loading.values() for name in kind]:
        sys.exit(f"model.safetensors does not fit config.json: {odd[0]}")
    model.eval()
    read = CLIPProcessor.from_pretrained(".")(text=captions, padding="max_length", truncation=True, return_tensors="pt")
    with torch.inference_mode():
        found = {
            "image_embeddings": model.get_image_features(pixel_values=images).pooler_output,
            "text_embeddings": model.get_text_features(input_ids=tokens).pooler_output,
            # open_clip pads with 0, transformers with the end of a text; neither is looked at.
            "tokens": read["input_ids"].masked_fill(read["attention_mask"] == 0, 0),
        }
    save_file({name: value.clone().contiguous() for name, value in found.items()}, answers)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # the caller reads this process' stderr where it fails
    main(*sys.argv[1:4])
