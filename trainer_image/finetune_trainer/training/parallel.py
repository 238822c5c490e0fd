"""What one process needs from the others of its run. Today a run is one process, for which it is the identity."""

from collections.abc import Iterable
from typing import Protocol

from torch import Tensor, nn


class Peers(Protocol):
    """The processes of a run; b is the batch of one of them, B = world x b of all."""

    world: int

    def gather(self, part: Tensor) -> Tensor:
        """(b, ...) of this process to (B, ...) of all, in the order of their ranks; carries no gradient."""

    def own(self, whole: Tensor) -> Tensor:
        """(B, ...) of all to (b, ...) of this process."""

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add up each `.grad` over all processes, in place and in a fixed order."""


class Alone:
    """One process."""

    world = 1

    def gather(self, part: Tensor) -> Tensor:
        return part

    def own(self, whole: Tensor) -> Tensor:
        return whole

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        pass


ALONE = Alone()
