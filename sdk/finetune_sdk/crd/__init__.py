"""The CustomResourceDefinition, generated from the API models."""

from finetune_sdk.crd.definition import crd, crd_text

__all__ = ["crd", "crd_text"]
