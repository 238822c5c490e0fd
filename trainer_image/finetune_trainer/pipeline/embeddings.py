"""The base's embeddings of the test set, kept in storage so that a resumed run need not measure the base again."""

import safetensors.torch
from torch import Tensor

from finetune_sdk.errors import ObjectNotFound
from finetune_sdk.storage import Store


def save_embeddings(store: Store, key: str, images: Tensor, texts: Tensor) -> None:
    """Store `images` (N, D) and `texts` (M, D), both float32."""
    store.write(key, safetensors.torch.save({"images": images.contiguous(), "texts": texts.contiguous()}))


def load_embeddings(store: Store, key: str) -> tuple[Tensor, Tensor] | None:
    """(N, D) images and (M, D) texts, or None where there are none."""
    try:
        tensors = safetensors.torch.load(store.read(key))
    except ObjectNotFound:
        return None
    return tensors["images"], tensors["texts"]
