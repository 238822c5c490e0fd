"""A whole report's documents, made up but of the size and shape of a real run's: 60 small drawings, 300 steps."""

import base64
import io
import math
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from finetune_trainer.records import (
    Candidate,
    DataReport,
    Evaluation,
    Examples,
    GateResult,
    Hardware,
    Interval,
    Leak,
    MetricChange,
    Outcome,
    Problem,
    QueryExample,
    RunRecord,
    Selection,
    SplitSummary,
    StepMetrics,
    Ties,
)
from finetune_trainer.report.inputs import ReportInput

HEADLINE = "image_retrieval_recall@5"
RECALLS = {
    "image_retrieval_recall@1": (0.187, 0.286, 0.076, 0.121),
    "image_retrieval_recall@5": (0.421, 0.573, 0.129, 0.176),
    "image_retrieval_recall@10": (0.548, 0.702, 0.133, 0.176),
    "text_retrieval_recall@1": (0.242, 0.319, 0.051, 0.103),
    "text_retrieval_recall@5": (0.494, 0.588, 0.068, 0.121),
    "text_retrieval_recall@10": (0.613, 0.606, -0.031, 0.017),
}
"""Before, after, and the interval of the gain."""

SKIES = {"at dawn": ("#f7c9a9", "#f2e3d0"), "at noon": ("#8ec5ea", "#dceffa"), "at night": ("#141c3a", "#3b4a7d")}
GROUNDS = {"in a meadow": "#7fb069", "in the snow": "#eef3f6", "in the desert": "#e0b877", "by the sea": "#3d7ea6"}
THINGS = {
    "a red house": "#c8453b",
    "a tall tree": "#2f6b3a",
    "a balloon": "#e58f2a",
    "a white tent": "#fbf7ee",
    "a blue car": "#2b59c3",
}
WHEN = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)


def drawing(sky: str, ground: str, thing: str) -> bytes:
    """A 128-pixel JPEG of a thing in a landscape."""
    image = Image.new("RGB", (128, 128))
    draw = ImageDraw.Draw(image)
    top, bottom = (ImageColor.getrgb(colour) for colour in SKIES[sky])
    for row in range(128):
        draw.line(
            [(0, row), (128, row)], tuple(round(a + (b - a) * row / 128) for a, b in zip(top, bottom, strict=True))
        )
    draw.ellipse([88, 14, 110, 36], "#f4f0d8" if sky == "at night" else "#fff3b8")
    draw.polygon([(0, 88), (40, 74), (86, 86), (128, 72), (128, 128), (0, 128)], GROUNDS[ground])
    {"house": house, "tree": tree, "balloon": balloon, "tent": tent, "car": car}[thing.rsplit(maxsplit=1)[-1]](
        draw, THINGS[thing]
    )
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85)
    return stream.getvalue()


def house(draw: ImageDraw.ImageDraw, colour: str) -> None:
    draw.rectangle([36, 62, 78, 100], colour)
    draw.polygon([(30, 62), (57, 38), (84, 62)], "#5b3a30")
    draw.rectangle([51, 78, 63, 100], "#3a2620")


def tree(draw: ImageDraw.ImageDraw, colour: str) -> None:
    draw.rectangle([53, 80, 61, 104], "#6b4a2f")
    for size, top in ((30, 60), (24, 44), (17, 28)):
        draw.polygon([(57 - size, top + 30), (57, top), (57 + size, top + 30)], colour)


def balloon(draw: ImageDraw.ImageDraw, colour: str) -> None:
    draw.ellipse([34, 18, 80, 68], colour)
    draw.ellipse([48, 18, 66, 68], "#f7e2b8")
    draw.line([(44, 62), (52, 82)], "#4a3b2a")
    draw.line([(70, 62), (62, 82)], "#4a3b2a")
    draw.rectangle([50, 82, 64, 92], "#7a5634")


def tent(draw: ImageDraw.ImageDraw, colour: str) -> None:
    draw.polygon([(24, 102), (58, 52), (92, 102)], colour)
    draw.polygon([(48, 102), (58, 66), (68, 102)], "#6a6258")


def car(draw: ImageDraw.ImageDraw, colour: str) -> None:
    draw.rounded_rectangle([26, 78, 92, 98], 6, colour)
    draw.polygon([(40, 78), (48, 62), (72, 62), (82, 78)], colour)
    for x in (34, 70):
        draw.ellipse([x, 90, x + 16, 106], "#22252b")


def album() -> dict[str, tuple[str, str]]:
    """Sixty pictures: file name to (caption, base64 JPEG)."""
    scenes = [(sky, ground, thing) for sky in SKIES for ground in GROUNDS for thing in THINGS]
    return {
        f"scene-{index:03d}.jpg": (f"{thing} {ground} {sky}", base64.b64encode(drawing(sky, ground, thing)).decode())
        for index, (sky, ground, thing) in enumerate(scenes)
    }


def examples() -> Examples:
    """Ten wins and ten losses among the sixty."""
    pictures, draw = album(), np.random.default_rng(7)
    names = draw.permutation(list(pictures)).tolist()

    def some(names: list[str], count: int) -> list[str]:
        return [str(name) for name in draw.choice(names, count, replace=False)]

    def query(index: int, won: bool) -> QueryExample:
        image = names[index]
        others = [name for name in names if name != image]
        miss, hit = some(others, 3), some([image, *some(others, 2)], 3)
        ranks = (int(draw.integers(6, 48)), hit.index(image) + 1)
        before, after = (miss, hit) if won else (hit, miss)
        rank_before, rank_after = ranks if won else ranks[::-1]
        return QueryExample(
            caption=pictures[image][0],
            image=image,
            rank_before=rank_before,
            rank_after=rank_after,
            top_before=before,
            top_after=after,
        )

    return Examples(
        wins=[query(index, True) for index in range(10)],
        losses=[query(index, False) for index in range(10, 20)],
        thumbnails={name: picture for name, (_, picture) in pictures.items()},
    )


def changes() -> dict[str, MetricChange]:
    return {
        name: MetricChange(
            before=before,
            after=after,
            gain=after - before,
            interval95=Interval(low=low, high=high, draws=10_000, images=1_000),
        )
        for name, (before, after, low, high) in RECALLS.items()
    }


def metrics(steps: int = 300) -> list[StepMetrics]:
    """Noisy loss, warmup and cosine, validation every tenth of the run."""
    noise = np.random.default_rng(3)
    return [
        StepMetrics(
            step=step,
            epoch=10 * step / steps,
            loss=0.62 + 3.2 * math.exp(-step / 70) + float(noise.normal(0, 0.13)),
            learning_rate=1e-5 * min(step / 30, 0.5 + 0.5 * math.cos(math.pi * max(0, step - 30) / (steps - 30))),
            logit_scale=100.0,
            gradient_norm=1.2,
            validation=validation(step / steps) if step % (steps // 10) == 0 else None,
        )
        for step in range(1, steps + 1)
    ]


def validation(share: float) -> dict[str, float]:
    risen = 1 - math.exp(-4 * share) - 0.12 * max(0.0, share - 0.7)
    recalls = {name: before + risen * (after - before) for name, (before, after, _, _) in RECALLS.items()}
    score = sum(value for name, value in recalls.items() if name.endswith(("@1", "@5"))) / 4
    return {**recalls, "score": score}


def candidate(step: int, alpha: float, score: float) -> Candidate:
    return Candidate(step=step, alpha=alpha, score=score, recalls=validation(alpha))


def selection() -> Selection:
    scores = {270: (0.392, 0.428, 0.443, 0.437), 300: (0.39, 0.424, 0.438, 0.43)}
    found = [
        candidate(step, alpha, score)
        for step, row in scores.items()
        for alpha, score in zip((0.25, 0.5, 0.75, 1.0), row, strict=True)
    ]
    base = candidate(0, 0.0, 0.336)
    return Selection(base=base, candidates=[base, *found], chosen=found[2], standard_error=0.008, no_gain=False)


def evaluation(when: int) -> Evaluation:
    recalls = {name: figures[when] for name, figures in RECALLS.items()}
    ties = Ties(
        queries=3 if when else 0,
        optimistic={name: value + 0.0006 for name, value in recalls.items()},
        pessimistic={name: value - 0.0006 for name, value in recalls.items()},
    )
    return Evaluation(
        dataset="scenes",
        model="ViT-B-32-quickgelu",
        pretrained="openai",
        metrics=recalls,
        queries_digest="9f2c61d0" * 8,
        images=1_000,
        captions=5_000,
        ties=ties,
        weights_digest=("a3b1c9e4", "5d07f8ab")[when] * 8,
    )


def data() -> DataReport:
    sizes = {"train": 6_000, "validation": 1_000, "test": 1_000}
    kinds = (
        ("missing-image", "images/4711.jpg is not there"),
        ("broken-image", "image file is truncated"),
        ("empty-caption", "the caption is empty"),
    )
    return DataReport(
        splits={
            name: SplitSummary(images=images, captions=5 * images, digest=f"{images:08x}" * 8)
            for name, images in sizes.items()
        },
        rows_read=40_455,
        rows_bad=7,
        problems=[
            Problem(kind=kinds[row % 3][0], where=f"captions.csv:{17 + 1_911 * row}", detail=kinds[row % 3][1])
            for row in range(7)
        ],
        oddities={"exif-rotated": 212, "cmyk": 3, "duplicate-row": 41, "truncated-caption": 9},
        leaks=[
            Leak(train=f"captions.csv:{90 + 55 * row}", other=f"captions.csv:{33_010 + row}", split="test", kind=kind)
            for row, kind in enumerate(("bytes", "pixels", "near", "near"))
        ],
        leaks_total=4,
        leakage="drop",
        cache_bytes=612_000_000,
    )


def outcome() -> Outcome:
    return Outcome(
        digest="v1:" + "c0ffee12" * 8,
        metric=HEADLINE,
        changes=changes(),
        verdict="Improved",
        sentence="Fine-tuning helped: a caption finds its picture among the first five in 57.3 % of searches, "
        "up from 42.1 %.",
        selection=selection(),
        steps=300,
        model_uri="s3://models/scenes-b32/model/",
        report_uri="s3://models/scenes-b32/report.html",
        weights_digest="5d07f8ab" * 8,
        timings={"prepare": 41.2, "baseline": 18.4, "train": 1_384.0, "select": 96.5, "evaluate": 19.0, "export": 12.7},
        notes=["batchSize: 256 chosen for 6,000 training images.", "recallAt: 1, 5 and 10."],
        completed_at=WHEN.replace(hour=10),
    )


def run() -> RunRecord:
    spec = {
        "task": "image-text",
        "model": {"name": "ViT-B-32-quickgelu", "weights": {"tag": "openai"}},
        "data": {
            "source": {"uri": "s3://datasets/scenes/captions.csv", "images": "s3://datasets/scenes/images/"},
            "leakage": "drop",
        },
        "training": {"epochs": 10, "batchSize": 256, "optimizer": {"learningRate": 1e-5}},
        "evaluation": {"recallAt": [1, 5, 10], "metric": HEADLINE, "gate": {"minGain": 0.02}},
        "output": {"uri": "s3://models/scenes-b32"},
    }
    resolved = {
        "steps": 300,
        "batchSize": 256,
        "microBatchSize": 128,
        "learningRate": 1e-5,
        "weightDecay": 0.1,
        "warmupSteps": 30,
        "precision": "bf16",
        "seed": 0,
        "alphas": [0, 0.25, 0.5, 0.75, 1],
    }
    return RunRecord(
        run="scenes-b32",
        digest="v1:" + "c0ffee12" * 8,
        spec=spec,
        resolved=resolved,
        versions={
            "finetune-operator": "0.1.0",
            "open_clip_torch": "3.3.0",
            "python": "3.11.9",
            "torch": "2.15.0",
            "timm": "1.0.20",
        },
        hardware=Hardware(device="cuda", device_name="NVIDIA A10G", cpus=8, threads=8, memory_bytes=34_359_738_368),
        started_at=WHEN,
    )


COMMAND = """cd model && clip_benchmark eval \\
  --model local-dir:. --pretrained "" \\
  --dataset wds/scenes --dataset_root ../test-shards --split test \\
  --task zeroshot_retrieval --recall_k 1 5 10 --no_amp \\
  --output after.json"""


def whole() -> ReportInput:
    """A finished run that helped."""
    return ReportInput(
        run=run(),
        rendered_at=WHEN.replace(hour=10, minute=1),
        data=data(),
        before=evaluation(0),
        after=evaluation(1),
        selection=selection(),
        outcome=outcome(),
        examples=examples(),
        metrics=metrics(),
        gate=GateResult(passed=True, message="The gain of 15.2 points is at least the 2.0 asked for."),
        reproduce=COMMAND,
        stage="report",
        total_steps=300,
    )


def killed() -> ReportInput:
    """A run that was killed in training: no result, no selection, no examples."""
    return replace(
        whole(),
        after=None,
        selection=None,
        outcome=None,
        examples=None,
        gate=None,
        reproduce="",
        metrics=metrics()[:120],
        stage="train",
    )
