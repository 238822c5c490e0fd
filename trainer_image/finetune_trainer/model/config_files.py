"""The config files that lie beside weights, checked value by value before open_clip, timm or transformers see them.

Their classes assume that what they are given is good: a wrong value ends in a traceback, or is taken for another.
"""

import reprlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Literal, TypeVar

from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from finetune_sdk.errors import WeightsInvalid

Count = Annotated[int, Field(strict=True, ge=1)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Deviation = Annotated[Number, Field(gt=0)]


class _Part(BaseModel):
    """An object of a config file, as far as its values must be good. The string below a key says which are."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)


Part = TypeVar("Part", bound=_Part)


class _Model(_Part):
    embed_dim: Count
    """a whole number above 0"""


class _ImageTower(_Part):
    image_size: Count | tuple[Count, Count]
    """a whole number of pixels above 0, or two"""


class _OwnImageTower(_ImageTower):
    """open_clip's own: timm's leave the rest to timm."""

    layers: Count | Annotated[list[Count], Field(min_length=4, max_length=4)]
    """a whole number above 0, or four of a ResNet"""
    width: Count
    """a whole number above 0"""
    head_width: Count
    """a whole number above 0"""
    patch_size: Count | tuple[Count, Count] | None
    """a whole number of pixels above 0"""


class _TextTower(_Part):
    context_length: Count
    """a whole number of tokens above 0"""
    tokenizer_kwargs: dict[str, Any] | None
    """an object"""


class _OwnTextTower(_TextTower):
    """open_clip's own: Hugging Face's leave the rest to transformers."""

    vocab_size: Count
    """a whole number above 0"""
    width: Count
    """a whole number above 0"""
    heads: Count
    """a whole number above 0"""
    layers: Count
    """a whole number above 0"""


class _Preprocess(_Part):
    """A null is as no value, as open_clip has it. The size is the image tower's, whatever is said here."""

    mode: Literal["RGB"] | None = None
    """RGB"""
    mean: tuple[Number, Number, Number] | None = None
    """three numbers, one a channel"""
    std: tuple[Deviation, Deviation, Deviation] | None = None
    """three numbers above 0, one a channel"""
    interpolation: Literal["bicubic", "bilinear"] | None = None
    """bicubic or bilinear"""
    resize_mode: Literal["shortest", "longest", "squash"] | None = None
    """shortest, longest or squash"""
    fill_color: Annotated[int, Field(ge=0, le=255)] | None = None
    """a whole number from 0 to 255"""


class _Pretrained(_Part):
    """What timm's folders say of their pictures."""

    input_size: tuple[Count, Count, Count] | None = None
    """channels, height and width"""
    mean: tuple[Number, Number, Number] | None = None
    """three numbers, one a channel"""
    std: tuple[Deviation, Deviation, Deviation] | None = None
    """three numbers above 0, one a channel"""
    interpolation: Literal["bicubic", "bilinear"] | None = None
    """bicubic or bilinear"""


class _Encoder(_Part):
    """What is read of a Hugging Face text tower's config.json."""

    pad_token_id: Annotated[int, Field(strict=True, ge=0)] | None = None
    """a token's number, or null"""
    max_position_embeddings: Count = 512
    """a whole number of tokens above 0"""


def check_model_config(config: Mapping[str, Any], where: str) -> None:
    """Raise WeightsInvalid, naming `where` and the key, for a `model_cfg` with values that no open_clip module has."""
    vision, text = config["vision_cfg"], config["text_cfg"]
    _checked(_Model, config, f"{where}.")
    image_tower = _ImageTower if "timm_model_name" in vision else _OwnImageTower
    _checked(image_tower, asdict(CLIPVisionCfg()) | vision, f"{where}.vision_cfg.")
    text_tower = _TextTower if "hf_model_name" in text else _OwnTextTower
    _checked(text_tower, asdict(CLIPTextCfg()) | text, f"{where}.text_cfg.")


def checked_preprocess(given: object, where: str) -> dict[str, Any]:
    """What a `preprocess_cfg` sets. Raises WeightsInvalid, naming `where` and the key, for what no evaluation does."""
    return _checked(_Preprocess, _object(given, where), f"{where}.").model_dump(exclude_none=True)


def checked_pretrained(given: object, where: str) -> dict[str, Any]:
    """What a timm folder's `pretrained_cfg` sets, other keys as they are. Raises WeightsInvalid as above."""
    found = _object(given, where)
    return dict(found) | _checked(_Pretrained, found, f"{where}.").model_dump(exclude_none=True)


def positions_of(config: Mapping[str, Any], where: str) -> int:
    """How many tokens a Hugging Face encoder reads. Raises WeightsInvalid as above."""
    said = _checked(_Encoder, config, f"{where}: ")
    if config["model_type"] == "bert":
        return said.max_position_embeddings
    # RoBERTa numbers positions from behind its padding's id, which is 1 where nothing is said.
    return said.max_position_embeddings - (1 if said.pad_token_id is None else said.pad_token_id) - 1


def _object(given: object, where: str) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise WeightsInvalid(f"{where} is {reprlib.repr(given)}: it must be an object")
    return given


def _checked(schema: type[Part], given: Mapping[str, Any], prefix: str) -> Part:
    try:
        return schema.model_validate(dict(given))
    except ValidationError as error:
        key = str(error.errors()[0]["loc"][0])
        works = schema.model_fields[key].description
        raise WeightsInvalid(f"{prefix}{key} is {reprlib.repr(given.get(key))}: it must be {works}") from error
