"""What `finetune compare` prints."""

from rich.console import Console

from finetune_trainer.display.table import change_words, show_pairs, table_of
from finetune_trainer.evaluation.interval import interval_notes
from finetune_trainer.pipeline.compare import Comparison
from finetune_trainer.records import Evaluation
from finetune_trainer.report.text import count, in_order


def show_comparison(comparison: Comparison, console: Console, uri: str = "") -> None:
    """Every metric of both models, the difference and its interval; `uri` is where the result was written."""
    table = table_of("metric", "first", "second", "difference", "95 % interval")
    for metric in in_order(comparison.changes):
        table.add_row(metric, *change_words(comparison.changes[metric]))
    console.print(table)
    measured = comparison.first
    console.print(
        f"differences, second less first, in percentage points; {count(measured.images, 'image')}, "
        f"{count(measured.captions, 'caption')}\n",
        style="dim",
        soft_wrap=True,
    )
    for caveat in interval_notes(measured.images):
        console.print(caveat, soft_wrap=True)
    console.print()
    show_pairs({"first": _words(comparison.first), "second": _words(comparison.second), "result": uri}, console)


def _words(evaluation: Evaluation) -> str:
    return f"{evaluation.model} ({evaluation.pretrained})"
