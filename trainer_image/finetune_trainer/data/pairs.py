"""CLIP Benchmark's flickr8k_test_karpathy.txt and its like: `image,caption` a line, with commas and no quotes.

As a CSV such a file is broken wherever a caption holds a comma or begins with a quote, so it is told from one first.
"""

import re

from finetune_trainer.data.readers import PICTURES

PAIR = re.compile(rf"(.+?(?:{'|'.join(map(re.escape, PICTURES))})),(.*)", re.IGNORECASE | re.DOTALL)
"""A picture's name up to the first ending of one that a comma follows, and the rest of the line."""


def unquoted_pairs(data: bytes) -> list[tuple[int, list[str]]] | None:
    """Line numbers and (image, caption) of a text, below its first line; None for a text that quotes as a CSV does.

    Bytes that are not UTF-8 stay as surrogates. A line that is no pair is one cell.
    """
    text = data.decode("utf-8-sig", "surrogateescape")
    lines = [(number, line.removesuffix("\r")) for number, line in enumerate(text.split("\n"), start=1)]
    matched = [(number, PAIR.fullmatch(line), line) for number, line in lines[1:] if line.strip()]
    captions = [found[2].strip() for _, found, _ in matched if found]
    if not any("," in caption and not caption.startswith('"') for caption in captions):
        return None
    return [(number, list(found.groups()) if found else [line]) for number, found, line in matched]
