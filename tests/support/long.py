"""How much of the long sweeps is run: `make test` holds a fixed sample, `make test-long` all."""

import os
from collections.abc import Iterable

LONG = bool(os.environ.get("FINETUNE_TEST_LONG"))


def seeds(sample: Iterable[int], whole: int) -> list[int]:
    """Of a sweep over seeds: the sample, and with LONG all below `whole` too."""
    return sorted({*sample, *(range(whole) if LONG else ())})
