"""Which of the namespaces that are looked after answer.

A namespace that is deleted takes its Role with it: from then on each list there is refused, which must not harm the
others. Once it is made anew, with its Role, it is looked after again.
"""

import contextlib
from collections.abc import Iterator

from finetune_operator.api import METADATA_ONLY, Api, ApiError
from finetune_operator.cluster import BATCH, CORE, OURS_API
from finetune_operator.log import log
from finetune_sdk.api.run import PLURAL

REFUSED = (403, 404)
KINDS = ((OURS_API, PLURAL), (BATCH, "jobs"), (CORE, "pods"))


class Namespaces:
    """Those of `names`; none named: all, as one whole that no refusal is tolerated of."""

    def __init__(self, api: Api, names: tuple[str, ...]) -> None:
        self._api = api
        self.names = names
        self.refused: set[str] = set()
        """As the last list in each of them said."""

    def each(self) -> tuple[str | None, ...]:
        """What to list one by one; None stands for all."""
        return self.names or (None,)

    @contextlib.contextmanager
    def tolerated(self, name: str | None) -> Iterator[None]:
        """Lists in a namespace: that they are refused is told once, and is no error.

        Raises:
            ApiError: anything else, or all namespaces are refused as a whole.
        """
        try:
            yield
        except ApiError as error:
            if name is None or error.status not in REFUSED:
                raise
            if name not in self.refused:
                log.warning("namespace-refused", namespace=name, error=str(error))
            self.refused.add(name)
        else:
            if name in self.refused:
                log.info("namespace-answers", namespace=name)
                self.refused.discard(name)

    async def answering(self) -> frozenset[str]:
        """The names without those refused before and still now: for a moment a starting API server refuses all.

        Raises:
            ApiError: it cannot be told.
        """
        before = set(self.refused)
        for name in self.names:
            with self.tolerated(name):
                for group, plural in KINDS:
                    await self._api.get(f"{group}/namespaces/{name}/{plural}", {"limit": "1"}, METADATA_ONLY)
        return frozenset(self.names) - (before & self.refused)
