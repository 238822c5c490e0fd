"""What Prometheus reads of the operator."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """One process's metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.passes = Counter(
            "finetune_operator_reconcile_total", "Passes over runs.", ["outcome"], registry=self.registry
        )
        self.pass_seconds = Histogram("finetune_operator_reconcile_seconds", "Time of a pass.", registry=self.registry)
        self.queued = Gauge("finetune_operator_queue_depth", "Runs that wait for a pass.", registry=self.registry)
        self.runs = Gauge("finetune_operator_runs", "Runs by state.", ["state"], registry=self.registry)
        self.leading = Gauge("finetune_operator_leader", "1 while this process leads.", registry=self.registry)
        self.requests = Histogram(
            "finetune_operator_api_request_seconds",
            "Requests to the API server; code 0: no answer.",
            ["method", "resource", "code"],
            registry=self.registry,
        )
        self.polls = Counter(
            "finetune_operator_progress_polls_total", "Polls of trainers.", ["outcome"], registry=self.registry
        )

    def api_request(self, method: str, resource: str, status: int, seconds: float) -> None:
        """Count one request to the API server; `resource` may have a subresource, as in finetuneruns/status."""
        self.requests.labels(method, resource, str(status)).observe(seconds)

    def text(self) -> bytes:
        """The exposition."""
        return generate_latest(self.registry)
