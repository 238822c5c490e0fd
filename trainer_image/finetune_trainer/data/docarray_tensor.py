"""A DocArray document's tensor as a picture."""

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from finetune_trainer.data.decode import MOST_PIXELS
from finetune_trainer.data.types import BadRow


def encode_tensor(tensor: object) -> bytes:
    """A lossless picture of an (H, W, 3) uint8 tensor, in any of DocArray's spellings. Raises BadRow for any other."""
    try:
        array = _array(tensor)
    except (TypeError, ValueError, KeyError) as error:
        raise BadRow("bad-row", f"its tensor cannot be read ({error}): keep uri or blob") from None
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        shape = " x ".join(map(str, array.shape))
        detail = f"its tensor is {shape} {array.dtype} and must be height x width x 3 uint8: keep uri or blob instead"
        raise BadRow("bad-row", detail)
    if array.size // 3 > MOST_PIXELS:
        raise BadRow("huge-image", f"{array.shape[1]} x {array.shape[0]} pixels; at most {MOST_PIXELS:,} are read")
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _array(tensor: object) -> NDArray[Any]:
    if not isinstance(tensor, dict):  # nested lists, as protocol='jsonschema' writes them
        array = np.array(tensor)
        whole = array.dtype.kind in "iu" and array.size > 0 and array.min() >= 0 and array.max() <= 255
        return array.astype(np.uint8) if whole else array
    dense = tensor["dense"]
    buffer = dense["buffer"]
    data = base64.b64decode(buffer, validate=True) if isinstance(buffer, str) else buffer
    return np.frombuffer(data, np.dtype(dense["dtype"])).reshape(dense["shape"])
