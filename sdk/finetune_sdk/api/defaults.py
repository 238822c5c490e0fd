"""Defaults that the schema cannot hold: of groups whose members exclude each other, and of what the data decides."""

DEFAULT_RECALL_AT = (1, 5, 10)
"""Used where recallAt is absent. Of these a k above the candidates is dropped; one that was written is refused."""
DEFAULT_EVERY_MINUTES = 10.0
"""Used where neither everyMinutes nor everySteps is given."""


def headline_metric(metric: str | None, recall_at: list[int] | None) -> str:
    """The headline metric's name with DESIGN section 2's default: @5 if measured, else the largest k."""
    measured = recall_at or list(DEFAULT_RECALL_AT)
    return metric or f"image_retrieval_recall@{5 if 5 in measured else max(measured)}"
