"""What `finetune run --check` prints."""

from rich.console import Console

from finetune_trainer.display.table import show_pairs, table_of
from finetune_trainer.pipeline.check import Checked
from finetune_trainer.records import DataReport
from finetune_trainer.report.text import ODDITIES, byte_size, count, duration, printable

MOST_SHOWN = 20
"""Bad rows, and leaks; all are counted, and the run's prepare.json has the first thousand."""
ORDER = ("train", "validation", "test")
APART = ("truncated-caption",)
"""Oddities that are told with a sentence of their own."""


def show_check(checked: Checked, console: Console) -> None:
    """Splits, what is wrong with the data, and what the run will take."""
    report = checked.report
    table = table_of("split", "pictures", "captions")
    for name, split in sorted(report.splits.items(), key=lambda item: ORDER.index(item[0])):
        table.add_row(name, f"{split.images:,}", f"{split.captions:,}")
    console.print(table)
    console.print()
    for line in [*bad_rows(report), *leaks(report), *oddities(report, checked.context_length)]:
        console.print(printable(line), soft_wrap=True, highlight=False, markup=False)
    console.print()
    show_pairs(costs(checked), console)
    if checked.begun:
        console.print("output.uri holds an attempt of this run: finetune run goes on with it")


def bad_rows(report: DataReport) -> list[str]:
    """How many, and the first of them."""
    if not report.rows_bad:
        return [f"bad rows: none of {report.rows_read:,}"]
    lines = [f"bad rows: {report.rows_bad:,} of {report.rows_read:,} are left out"]
    lines += [f"  {one.where}: {one.kind}: {one.detail}" for one in report.problems[:MOST_SHOWN]]
    return [*lines, *_more(report.rows_bad)]


def leaks(report: DataReport) -> list[str]:
    """Training pictures that are also in another split."""
    if not report.leaks_total:
        return ["leakage: none"]
    what = "dropped from train" if report.leakage == "drop" else "kept, as data.leakage says"
    lines = [f"leakage: {count(report.leaks_total, 'picture')} also in validation or test, or nearly alike: {what}"]
    lines += [f"  {one.train} is {one.other} of {one.split} ({one.kind})" for one in report.leaks[:MOST_SHOWN]]
    return [*lines, *_more(report.leaks_total)]


def oddities(report: DataReport, context_length: int) -> list[str]:
    """What was counted and used all the same; captions that the tokenizer cuts first."""
    cut = report.oddities.get("truncated-caption", 0)
    total = sum(split.captions for split in report.splits.values())
    lines = [f"captions cut: {cut:,} of {total:,} are longer than the model's {context_length} tokens"]
    others = {kind: amount for kind, amount in report.oddities.items() if kind not in APART}
    return [
        *lines,
        *(f"{kind}: {amount:,} ({ODDITIES.get(kind, 'used all the same')})" for kind, amount in others.items()),
    ]


def costs(checked: Checked) -> dict[str, str]:
    """Names and values, by the measured step."""
    made, resolved = checked.costs, checked.resolved
    memory = byte_size(made.fixed_bytes)
    if resolved.micro_batch_size is None:
        memory += f" and {byte_size(made.pair_bytes)} for each pair of a micro-batch, which is found by trying"
    else:
        activations = made.pair_bytes * min(resolved.micro_batch_size, resolved.batch_size)
        memory = byte_size(made.fixed_bytes + activations) + f", at {resolved.micro_batch_size} pairs at once"
    steps = f"{resolved.total_steps:,} steps of {resolved.batch_size} pairs at {duration(made.step_seconds)}"
    return {
        "time": f"about {duration(made.total_seconds)} on this {checked.device}: {steps}, "
        f"{duration(made.measure_seconds)} of measuring",
        "memory": f"{memory}; {byte_size(made.host_bytes)} for copies of the weights",
        "disk": f"{_pictures(checked.report)} here, up to {byte_size(made.output_bytes)} under output.uri",
        "metric": checked.metric,
    }


def _pictures(report: DataReport) -> str:
    if report.pictures == "raw":
        return f"{byte_size(report.cache_bytes)} of decoded pictures"
    return (
        f"{byte_size(report.cache_bytes)} of pictures, those for training as JPEG "
        f"(raw pixels would be {byte_size(report.pixel_bytes)}, too much for this disk),"
    )


def _more(total: int) -> list[str]:
    return [f"  and {total - MOST_SHOWN:,} more"] if total > MOST_SHOWN else []
