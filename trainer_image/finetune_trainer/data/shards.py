"""Write webdataset shards in the layout that CLIP Benchmark reads, so that its own command gives a run's number."""

import io
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from PIL import Image as Pictures

from finetune_sdk.errors import DataInvalid
from finetune_sdk.storage import Store
from finetune_trainer.data.types import Split

PER_SHARD = 1000
READ_BY_CLIP_BENCHMARK = ("webp", "png", "jpg", "jpeg")


@dataclass(frozen=True)
class Sample:
    """One encoded picture with its captions."""

    data: bytes
    ending: str
    """webp, png, jpg or jpeg."""
    captions: tuple[str, ...]


def samples_of(split: Split) -> Iterator[Sample]:
    """The pictures as the model sees them, losslessly, in order: open_clip's preprocessing leaves them unchanged."""
    for index, image in enumerate(split.images):
        buffer = io.BytesIO()
        Pictures.fromarray(split.pixels.evaluation(index)).save(buffer, "PNG", compress_level=1)
        yield Sample(buffer.getvalue(), "png", image.captions)


def write_shards(samples: Iterable[Sample], store: Store, split: str = "test", per_shard: int = PER_SHARD) -> int:
    """Write `split`/0.tar and on, `split`/nshards.txt and dataset_type.txt below `store`; how many shards it were.

    Equal samples give equal bytes. Raises DataInvalid for a caption of two lines (as `str.splitlines` sees lines) or an
    ending that CLIP Benchmark does not read, and the storage's errors.
    """
    left = iter(samples)
    count = 0
    while some := list(islice(left, per_shard)):
        with tempfile.TemporaryDirectory(prefix="finetune-shard-") as folder:
            path = Path(folder) / "shard.tar"
            with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
                for index, sample in enumerate(some, start=count * per_shard):
                    _add(tar, index, sample)
            store.write_file(f"{split}/{count}.tar", path)
        count += 1
    store.write("dataset_type.txt", b"retrieval\n")
    store.write(f"{split}/nshards.txt", f"{count}\n".encode())
    return count


def _add(tar: tarfile.TarFile, index: int, sample: Sample) -> None:
    if sample.ending not in READ_BY_CLIP_BENCHMARK:
        raise DataInvalid(f"CLIP Benchmark reads {', '.join(READ_BY_CLIP_BENCHMARK)}, not .{sample.ending}")
    if broken := [caption for caption in sample.captions if len(caption.splitlines()) != 1]:
        raise DataInvalid(f"a caption of a shard must be one line: {broken[0]!r}")
    _member(tar, f"s{index:07d}.{sample.ending}", sample.data)
    _member(tar, f"s{index:07d}.txt", "\n".join(sample.captions).encode())


def _member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
