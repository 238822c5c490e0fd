"""Where the keys of an S3 server come from: the environment, or a folder of files such as a mounted Secret."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from finetune_sdk.errors import StorageDenied

AWS_ENDPOINT = "https://s3.amazonaws.com"
_READ_TRIES = 5
"""A folder is read again while its files change underneath; a swap of a mounted Secret changes them once."""


@dataclass(frozen=True)
class Origin:
    """What to call each setting in a message, so that the user finds it."""

    access_key: str
    secret_key: str
    endpoint: str
    region: str
    ca: str


@dataclass(frozen=True)
class Credentials:
    """How to reach an S3 server, and as whom. Its repr shows no key."""

    endpoint: str
    """`http://HOST[:PORT]` or `https://...`, no path."""
    origin: Origin = field(repr=False)
    access_key: str | None = field(default=None, repr=False)
    """None, together with the secret key: anonymous."""
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    region: str | None = None
    """None: us-east-1, but on AWS the bucket's own."""
    ca_file: Path | None = None
    """PEM certificates to trust in place of the public ones."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may hold."""
        return tuple(secret for secret in (self.secret_key, self.session_token, self.access_key) if secret)


class CredentialsSource(Protocol):
    """Asked before every request, so that keys can be renewed during a run."""

    def load(self) -> Credentials:
        """The credentials of now. Raises StorageDenied, naming the setting that is missing or wrong."""


class _EnvironmentCredentials:
    _ORIGIN = Origin("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_CA_BUNDLE")

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env

    def __repr__(self) -> str:
        return "credentials from the environment"

    def load(self) -> Credentials:
        access_key, secret_key = self._get("AWS_ACCESS_KEY_ID"), self._get("AWS_SECRET_ACCESS_KEY")
        if (access_key is None) != (secret_key is None):
            missing = "AWS_ACCESS_KEY_ID" if access_key is None else "AWS_SECRET_ACCESS_KEY"
            raise StorageDenied(
                f"the variable {missing} is not set but its other half is: set both, or none (anonymous)"
            )
        ca = self._get("AWS_CA_BUNDLE")
        return Credentials(
            endpoint=checked_endpoint(self._get("AWS_ENDPOINT_URL") or AWS_ENDPOINT, "AWS_ENDPOINT_URL"),
            origin=self._ORIGIN,
            access_key=access_key,
            secret_key=secret_key,
            session_token=self._get("AWS_SESSION_TOKEN") if access_key else None,
            region=self._get("AWS_REGION") or self._get("AWS_DEFAULT_REGION"),
            ca_file=Path(ca) if ca else None,
        )

    def _get(self, name: str) -> str | None:
        return self._env.get(name, "").strip() or None


def credentials_from_environment(env: Mapping[str, str]) -> CredentialsSource:
    """Credentials from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_ENDPOINT_URL, AWS_REGION
    (or AWS_DEFAULT_REGION) and AWS_CA_BUNDLE of `env`; without keys anonymous, without endpoint AWS.

    Nothing is read or checked before the first request: who needs no S3 needs no variables.
    """
    return _EnvironmentCredentials(env)


class CredentialsDirectory:
    """Credentials from the files endpoint, accessKey, secretKey and, optional, region and ca.crt of a folder.

    They are read again whenever a file has changed. Kubernetes renews a mounted Secret by swapping the symlink
    `..data`; a read during the swap is repeated, so that no key is paired with another's secret.
    """

    _NEEDED = ("endpoint", "accessKey", "secretKey")
    _OPTIONAL = ("region", "ca.crt")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[object, ...] = ()
        self._loaded: Credentials | None = None

    def __repr__(self) -> str:
        return f"credentials from {self._path}"

    def load(self) -> Credentials:
        """Raises StorageDenied, naming the file that is missing, empty, unreadable or no text."""
        for _ in range(_READ_TRIES):
            signature = self._signature()
            if self._loaded is not None and signature == self._seen:
                return self._loaded
            loaded = self._read()
            if self._signature() == signature:
                self._loaded, self._seen = loaded, signature
                return loaded
        raise StorageDenied(f"the files in {self._path} keep changing while they are read")

    def _signature(self) -> tuple[object, ...]:
        return tuple(file_signature(self._path / name) for name in (*self._NEEDED, *self._OPTIONAL))

    def _read(self) -> Credentials:
        values = {name: self._value(name) for name in self._NEEDED}
        ca_file = self._path / "ca.crt"
        where = f"in {self._path}"
        return Credentials(
            endpoint=checked_endpoint(values["endpoint"], f"the file {self._path / 'endpoint'}"),
            origin=Origin(
                f"the file accessKey {where}",
                f"the file secretKey {where}",
                f"the file endpoint {where}",
                f"the file region {where}",
                f"the file ca.crt {where}",
            ),
            access_key=values["accessKey"],
            secret_key=values["secretKey"],
            region=self._value("region") if (self._path / "region").exists() else None,
            ca_file=ca_file if ca_file.exists() else None,
        )

    def _value(self, name: str) -> str:
        path = self._path / name
        try:
            value = path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            raise StorageDenied(
                f"there is no file {name} in {self._path}: credentials are the files {', '.join(self._NEEDED)}"
                f" and, optional, {', '.join(self._OPTIONAL)}"
            ) from None
        except OSError as error:
            raise StorageDenied(f"the credentials in {path} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise StorageDenied(f"the credentials in {path} are no UTF-8 text") from None
        if not value:
            raise StorageDenied(f"the credentials in {path} are empty")
        return value


def file_signature(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file does: inode, modification time and size; None if it cannot be read."""
    try:
        status = os.stat(path)  # noqa: PTH116 - asked five times a request: without a Path's detours
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def checked_endpoint(endpoint: str, setting: str) -> str:
    """`http(s)://HOST[:PORT]`; raises StorageDenied, where the value might hold a password without repeating it."""
    try:
        url = urlsplit(endpoint)
        port = url.port
    except ValueError:
        raise StorageDenied(f"{setting} is no URL: write http://HOST:PORT or https://HOST") from None
    if url.username is not None or url.password is not None:
        raise StorageDenied(f"{setting} holds a user or password: keys are given apart from the endpoint")
    if url.scheme not in ("http", "https") or not url.hostname:
        raise StorageDenied(f"{setting} is {endpoint!r}: write http://HOST:PORT or https://HOST, with the scheme")
    if url.path.strip("/") or url.query or url.fragment:
        raise StorageDenied(f"{setting} is {endpoint!r}: leave out what follows the host and port")
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    return f"{url.scheme}://{host}" + (f":{port}" if port else "")
