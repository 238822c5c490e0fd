"""What happened while nobody looked: every change of a namespace's pods or runs, by a watch of kubectl's."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from tests.cluster.lab import kubectl
from tests.on_cluster.conftest import Json, Place

ENDED = ("Succeeded", "Failed")


class Record:
    """The changes so far, oldest first, as pairs of ADDED, MODIFIED or DELETED and the object."""

    def __init__(self, log: Path) -> None:
        self._log = log

    @classmethod
    @contextmanager
    def of(cls, place: Place, kind: str, folder: Path) -> Iterator[Self]:
        """Watch until the end of the block."""
        log = folder / f"{kind}.json"
        watch = [str(kubectl()), "get", kind, "-n", place.namespace, "--watch", "--output-watch-events", "-o", "json"]
        with log.open("wb") as file:
            process = subprocess.Popen(watch, env=place.kube.env, stdout=file, stderr=subprocess.DEVNULL)
        try:
            yield cls(log)
        finally:
            process.kill()
            process.wait()

    def changes(self) -> Iterator[tuple[str, Json]]:
        """All that kubectl has told."""
        text, decoder, at = self._log.read_text(), json.JSONDecoder(), 0
        while (at := text.find("{", at)) >= 0:
            try:
                event, at = decoder.raw_decode(text, at)
            except ValueError:  # it is writing the last one
                return
            yield event["type"], event["object"]


class PodRecord(Record):
    """Of pods."""

    def at_once(self) -> int:
        """The most pods that lived at the same time."""
        living: set[str] = set()
        most = 0
        for kind, pod in self.changes():
            uid = pod["metadata"]["uid"]
            if kind == "DELETED" or pod["status"]["phase"] in ENDED:
                living.discard(uid)
            else:
                living.add(uid)
            most = max(most, len(living))
        return most

    def count(self) -> int:
        """How many pods there have been."""
        return len({pod["metadata"]["uid"] for _, pod in self.changes()})


class TurnRecord(Record):
    """Of runs."""

    def of_run(self, name: str) -> list[tuple[str, str]]:
        """State and reason of a run, each time that they changed."""
        found: list[tuple[str, str]] = []
        for _, run in self.changes():
            now = (run["status"]["state"], run["status"].get("reason", ""))
            if run["metadata"]["name"] == name and found[-1:] != [now]:
                found.append(now)
        return found
