"""The pixel cache against open_clip's own preprocessing, and against killed writers and full disks."""

import errno
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from finetune_sdk.errors import StorageDenied, StorageUnavailable
from finetune_trainer.cache_error import cache_error
from finetune_trainer.data.batches import normalise
from finetune_trainer.data.pixels import PixelWriter
from finetune_trainer.data.stored import INDEX, PixelsUnusable, open_pixels
from finetune_trainer.data.types import BadRow
from finetune_trainer.model.clip import Preprocess
from tests.support.splits import add

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
PLAIN = Preprocess((32, 32), MEAN, STD, "bicubic", "shortest")


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


INPUTS = {
    "shortest": PLAIN,
    "shortest, bilinear": Preprocess((32, 32), MEAN, STD, "bilinear", "shortest"),
    "shortest, not square": Preprocess((24, 40), MEAN, STD, "bicubic", "shortest"),
    "longest, padded with grey": Preprocess((32, 32), MEAN, STD, "bicubic", "longest", fill_color=127),
    "longest, not square, bilinear": Preprocess((24, 40), MEAN, STD, "bilinear", "longest"),
    "squash": Preprocess((32, 32), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic", "squash"),
    "squash, not square, bilinear": Preprocess((24, 40), MEAN, STD, "bilinear", "squash"),
}
SHAPES = [(32, 32), (57, 33), (33, 57), (7, 5), (1, 90), (300, 41)]


@pytest.mark.parametrize("preprocess", INPUTS.values(), ids=INPUTS)
def test_cached_evaluation_pixels_have_the_bits_of_open_clips_preprocessing(
    preprocess: Preprocess, tmp_path: Path
) -> None:
    config = PreprocessCfg(
        preprocess.size, "RGB", preprocess.mean, preprocess.std,
        preprocess.interpolation, preprocess.resize_mode, preprocess.fill_color,
    )  # fmt: skip
    theirs = image_transform_v2(config, is_train=False)
    pictures = [picture(*shape, seed=seed) for seed, shape in enumerate(SHAPES) if min(shape) * 32 > max(shape)]
    with PixelWriter(tmp_path, preprocess, whole=False) as writer:
        for each in pictures:
            add(writer, each)
        cache = writer.close()
    ours = normalise(torch.tensor(np.stack([cache.evaluation(index) for index in range(len(cache))])), preprocess)
    assert torch.equal(ours, torch.stack([theirs(each) for each in pictures]))


@pytest.mark.parametrize("mode", ["P", "RGBA", "L", "CMYK"])
def test_other_colour_modes_are_resized_before_they_are_converted_as_open_clip_does(mode: str, tmp_path: Path) -> None:
    image = picture(50, 40).convert(mode)
    with PixelWriter(tmp_path, PLAIN, whole=False) as writer:
        add(writer, image)
        ours = normalise(torch.tensor(writer.close().evaluation(0))[None], PLAIN)[0]
    theirs = image_transform_v2(PreprocessCfg(PLAIN.size, "RGB", MEAN, STD), is_train=False)
    assert torch.equal(ours, theirs(image))


def test_every_value_of_every_channel_is_normalised_to_open_clips_bits() -> None:
    every = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None], (256, 1, 3)).copy()
    theirs = image_transform_v2(PreprocessCfg((256, 1), "RGB", MEAN, STD, resize_mode="squash"), is_train=False)
    assert torch.equal(normalise(torch.from_numpy(every)[None], PLAIN)[0], theirs(Image.fromarray(every)))


WHOLES = {
    "shrunk to 1.14 inputs on the shorter side": ((320, 240), (37, 49)),
    "a small picture is kept as it is": ((30, 36), (36, 30)),
    "a very wide one keeps its centre": ((1000, 100), (37, 74)),
    "a very high one keeps its centre": ((10, 300), (20, 10)),
}


@pytest.mark.parametrize(("size", "kept"), WHOLES.values(), ids=WHOLES)
def test_whole_pictures_for_training(size: tuple[int, int], kept: tuple[int, int], tmp_path: Path) -> None:
    with PixelWriter(tmp_path, PLAIN, whole=True) as writer:
        add(writer, picture(*size))
        assert writer.close().whole(0).shape == (*kept, 3)


def test_a_small_whole_picture_is_unchanged_and_a_long_one_is_its_centre(tmp_path: Path) -> None:
    small, long = picture(20, 30), picture(61, 20)
    with PixelWriter(tmp_path, PLAIN, whole=True) as writer:
        add(writer, small)
        add(writer, long)
        cache = writer.close()
    assert np.array_equal(cache.whole(0), np.asarray(small))
    assert np.array_equal(cache.whole(1), np.asarray(long)[:, 10:50])


def test_a_subset_renumbers_and_parts_left_out_are_refused(tmp_path: Path) -> None:
    with PixelWriter(tmp_path / "both", PLAIN, whole=True) as writer:
        add(writer, picture(40, 50, seed=2), evaluation=False)
        add(writer, picture(50, 40, seed=3))
        cache = writer.close()
    with PixelWriter(tmp_path / "tested", PLAIN, whole=False) as writer:
        add(writer, picture(40, 40))
        tested = writer.close()
    chosen = cache.subset([1, 0])
    assert (len(cache), len(chosen)) == (2, 2)
    assert np.array_equal(chosen.evaluation(0), cache.evaluation(1))
    assert np.array_equal(chosen.whole(1), cache.whole(0))
    for read, index in ((tested.whole, 0), (chosen.evaluation, 1), (cache.evaluation, 2)):
        with pytest.raises(IndexError):
            read(index)


def test_pixels_cannot_be_changed(tmp_path: Path) -> None:
    with PixelWriter(tmp_path, PLAIN, whole=True) as writer:
        add(writer, picture(40, 40))
        cache = writer.close()
    with pytest.raises(ValueError, match="read-only"):
        cache.evaluation(0)[0] = 0


def test_an_empty_cache_opens(tmp_path: Path) -> None:
    assert len(PixelWriter(tmp_path, PLAIN, whole=False).close()) == 0


def test_a_picture_too_thin_to_resize_is_a_bad_row_and_the_next_goes_on(tmp_path: Path) -> None:
    with PixelWriter(tmp_path, INPUTS["longest, padded with grey"], whole=True) as writer:
        with pytest.raises(BadRow, match="1 x 500 pixels"):
            add(writer, picture(1, 500))
        assert add(writer, picture(9, 9)) == 0
        assert len(writer.close()) == 1


def test_a_picture_that_would_be_blown_up_beyond_memory_is_a_bad_row(tmp_path: Path) -> None:
    with pytest.raises(BadRow, match="40000 x 1"), PixelWriter(tmp_path, PLAIN, whole=True) as writer:
        add(writer, picture(40_000, 1))


def test_a_cache_for_another_input_is_not_opened(tmp_path: Path) -> None:
    PixelWriter(tmp_path, PLAIN, whole=False).close()
    with pytest.raises(PixelsUnusable, match="another input"):
        open_pixels(tmp_path, INPUTS["squash"])
    open_pixels(tmp_path, Preprocess((32, 32), (0, 0, 0), (1, 1, 1), "bicubic", "shortest"))


def shorten(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def alter(folder: Path) -> None:
    body = json.loads((folder / INDEX).read_text())
    body["sizes"][0][1] += 1
    (folder / INDEX).write_text(json.dumps(body))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no index": lambda folder: (folder / INDEX).unlink(),
    "a cut index": lambda folder: shorten(folder / INDEX),
    "an altered size": alter,
    "cut pixels": lambda folder: shorten(next(folder.glob("*.bin"))),
    "no pixels": lambda folder: next(folder.glob("*.bin")).unlink(),
    "an index that is no object": lambda folder: (folder / INDEX).write_text("[]"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_cache_is_not_opened(damage: Callable[[Path], object], tmp_path: Path) -> None:
    with PixelWriter(tmp_path, PLAIN, whole=True) as writer:
        add(writer, picture(40, 40))
        writer.close()
    open_pixels(tmp_path, PLAIN)
    damage(tmp_path)
    with pytest.raises(PixelsUnusable):
        open_pixels(tmp_path, PLAIN)


def test_a_killed_writer_leaves_nothing_valid_and_the_next_one_frees_its_space(tmp_path: Path) -> None:
    script = """
        import os, signal, sys
        from pathlib import Path
        import numpy as np
        from finetune_trainer.data.pixels import PixelWriter
        from finetune_trainer.model.clip import Preprocess
        writer = PixelWriter(Path(sys.argv[1]), Preprocess((32, 32), (0,) * 3, (1,) * 3, "bicubic", "shortest"), True)
        for _ in range(1000): writer.append(writer.make(np.zeros((40, 40, 3), np.uint8), None))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], check=False)
    assert killed.returncode == -9
    assert [path.suffix for path in tmp_path.iterdir()] == [".partial"]
    with pytest.raises(PixelsUnusable):
        open_pixels(tmp_path, PLAIN)
    with PixelWriter(tmp_path, PLAIN, whole=False) as writer:
        writer.close()
    assert {path.suffix for path in tmp_path.iterdir()} == {".bin", ".json"}


def test_two_writers_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    first, second = (PixelWriter(tmp_path, PLAIN, whole=False) for _ in range(2))
    add(first, picture(40, 40, seed=1))
    add(second, picture(40, 40, seed=1))
    mine, other = first.close(), second.close()
    assert mine.digest == other.digest
    assert np.array_equal(mine.evaluation(0), other.evaluation(0))


def test_an_error_in_mid_writing_leaves_an_empty_folder(tmp_path: Path) -> None:
    class Interrupted(Exception):
        pass

    def write() -> None:
        with PixelWriter(tmp_path, PLAIN, whole=False) as writer:
            add(writer, picture(40, 40))
            raise Interrupted

    with pytest.raises(Interrupted):
        write()
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_a_typed_refusal_that_leaves_nothing(tmp_path: Path) -> None:
    """A limit on file sizes fails writes as a full disk does; in a process of its own, for it cannot be undone."""
    script = """
        import resource, signal, sys
        from pathlib import Path
        import numpy as np
        from finetune_sdk.errors import StorageUnavailable
        from finetune_trainer.data.pixels import PixelWriter
        from finetune_trainer.model.clip import Preprocess
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        writer = PixelWriter(Path(sys.argv[1]), Preprocess((32, 32), (0,) * 3, (1,) * 3, "bicubic", "shortest"), True)
        try:
            for _ in range(1000): writer.append(writer.make(np.zeros((40, 40, 3), np.uint8), None))
        except StorageUnavailable as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], check=True, capture_output=True, text=True
    )
    assert f"the disk of the cache folder {tmp_path} is full" in done.stdout
    assert "FINETUNE_CACHE" in done.stdout
    assert not list(tmp_path.iterdir())


def test_a_cache_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(StorageUnavailable, match="FINETUNE_CACHE"):
        PixelWriter(tmp_path / "cache", PLAIN, whole=False)


def test_a_read_only_cache_folder_is_denied(tmp_path: Path) -> None:
    error = cache_error(OSError(errno.EROFS, os.strerror(errno.EROFS)), tmp_path)
    assert isinstance(error, StorageDenied)
    assert "FINETUNE_CACHE" in str(error)
