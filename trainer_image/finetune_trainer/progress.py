"""How far a run is: what stages tell, whoever listens (a terminal, a log, an HTTP server)."""

from typing import Final, Protocol


class Progress(Protocol):
    """Listens to a pipeline. Every call may raise `Stopped` once the process was asked to stop: stages pass it on."""

    def start(self, stage: str, total: int | None, unit: str, done: int = 0) -> None:
        """A stage begins, or a part of one; `total` counts `unit`s ("images", "steps"), None where it is not known."""

    def advance(self, amount: int = 1, **figures: float) -> None:
        """`amount` more units are done; `figures` are shown beside the bar (loss=2.31)."""

    def note(self, message: str) -> None:
        """One sentence that the user should read: a default chosen, rows dropped."""


class Witness(Protocol):
    """Hears of what stands in storage by now. Called from any thread; must not raise."""

    def measured(self, metric: str, before: float) -> None:
        """The base model's headline figure."""

    def saved(self, step: int, uri: str) -> None:
        """A whole checkpoint."""


class Nobody:
    """A witness to whom nobody listens."""

    def measured(self, metric: str, before: float) -> None:
        pass

    def saved(self, step: int, uri: str) -> None:
        pass


class Silent:
    """Tells nobody."""

    def start(self, stage: str, total: int | None, unit: str, done: int = 0) -> None:
        pass

    def advance(self, amount: int = 1, **figures: float) -> None:
        pass

    def note(self, message: str) -> None:
        pass


UNSEEN: Final[Progress] = Silent()
"""Where nobody is to be told."""
