"""Where a pod's keys to storage are."""

from collections.abc import Callable, Mapping
from pathlib import Path

from finetune_sdk.contract import CREDENTIALS_FOLDER
from finetune_sdk.storage import Credentials, CredentialsDirectory, CredentialsSource, credentials_from_environment

CREDENTIALS_VARIABLE = "FINETUNE_CREDENTIALS"
"""Another folder than the pod's, for tests of the image's processes outside of a pod."""


def credentials_of(env: Mapping[str, str]) -> CredentialsSource:
    """The mounted Secret, read again when it changes; without one, what the environment says."""
    folder = Path(env.get(CREDENTIALS_VARIABLE, CREDENTIALS_FOLDER))
    return CredentialsDirectory(folder) if folder.is_dir() else credentials_from_environment(env)


class HeardCredentials:
    """Credentials, and a sign of life whenever they are asked for: at each request, so in a long transfer too."""

    def __init__(self, source: CredentialsSource, heard: Callable[[], None]) -> None:
        self._source = source
        self._heard = heard

    def __repr__(self) -> str:
        return repr(self._source)

    def load(self) -> Credentials:
        """As the source does."""
        self._heard()
        return self._source.load()
