"""Open an exported folder as its users will: a fresh process, the folder as working directory, open_clip alone.

`python -m finetune_trainer.model.reopen SAMPLES ANSWERS THREADS`: samples in, embeddings, preprocessing and the
weights' digest out. Both files are safetensors; captions and preprocessing travel as JSON in their metadata.
"""

import json
import sys
import warnings

import open_clip
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from finetune_trainer.model.digest import weights_digest

MODEL = "local-dir:."


def main(samples: str, answers: str, threads: str) -> None:
    """Embed the samples' images (n, 3, H, W) and tokens (n, T), tokenize its captions, and save all that."""
    torch.set_num_threads(int(threads))
    with safe_open(samples, "pt") as given:
        images, tokens = given.get_tensor("images"), given.get_tensor("tokens")
        captions = json.loads(given.metadata()["captions"])
    model, _, _ = open_clip.create_model_and_transforms(MODEL)
    model.eval()
    with torch.inference_mode():
        found = {
            "image_embeddings": model.encode_image(images),
            "text_embeddings": model.encode_text(tokens),
            "tokens": open_clip.get_tokenizer(MODEL)(captions),
        }
    seen = {
        "preprocess": json.dumps(model.visual.preprocess_cfg, sort_keys=True),
        "weights": weights_digest(model.state_dict()),
    }
    save_file({name: value.clone().contiguous() for name, value in found.items()}, answers, seen)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # the caller reads this process' stderr where it fails
    main(*sys.argv[1:4])
