"""Keys of an S3 server in a Secret: read as a CredentialsSource, and made from what a user gives."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from finetune_sdk.errors import StorageDenied
from finetune_sdk.storage import Credentials
from finetune_sdk.storage.credentials import Origin, checked_endpoint

ENDPOINT, ACCESS_KEY, SECRET_KEY, REGION, CA = "endpoint", "accessKey", "secretKey", "region", "ca.crt"


@dataclass(frozen=True)
class StorageKeys:
    """What a run's pods need to reach an S3 server. Its repr shows no key."""

    endpoint: str
    """`http://HOST[:PORT]` or `https://...`, as pods reach it."""
    access_key: str = field(repr=False)
    """Who; kept out of logs all the same."""
    secret_key: str = field(repr=False)
    """The proof."""
    region: str | None = None
    """None: us-east-1, but on AWS the bucket's own."""
    ca: bytes | None = field(default=None, repr=False)
    """PEM certificates to trust in place of the public ones."""

    def data(self) -> dict[str, bytes]:
        """The Secret's keys. Raises StorageDenied for an endpoint that is none, and for an empty key."""
        for name, value in (("the access key", self.access_key), ("the secret key", self.secret_key)):
            if not value.strip():
                raise StorageDenied(f"{name} is empty")
        found = {
            ENDPOINT: checked_endpoint(self.endpoint, "the endpoint").encode(),
            ACCESS_KEY: self.access_key.strip().encode(),
            SECRET_KEY: self.secret_key.strip().encode(),
        }
        found |= {REGION: self.region.encode()} if self.region else {}
        return found | ({CA: self.ca} if self.ca else {})


class SecretCredentials:
    """The keys of a Secret that was read, whose messages name the Secret."""

    def __init__(self, data: Mapping[str, bytes], name: str, endpoint: str | None = None) -> None:
        """`name`: as in NAMESPACE/NAME. `endpoint`: in place of the Secret's, where pods reach it by another name."""
        self._data, self._name, self._endpoint = data, name, endpoint
        self._ca_file: Path | None = None

    def __repr__(self) -> str:
        return f"credentials of Secret {self._name}"

    def load(self) -> Credentials:
        """Raises StorageDenied, naming the key that is missing or wrong."""
        place = f"of Secret {self._name}"
        return Credentials(
            endpoint=self._endpoint_of(place),
            origin=Origin(*(f"key {key} {place}" for key in (ACCESS_KEY, SECRET_KEY, ENDPOINT, REGION, CA))),
            access_key=self._value(ACCESS_KEY),
            secret_key=self._value(SECRET_KEY),
            region=self._value(REGION) if self._data.get(REGION) else None,
            ca_file=self._certificates(),
        )

    def _endpoint_of(self, place: str) -> str:
        if self._endpoint:
            return checked_endpoint(self._endpoint, "the endpoint given")
        return checked_endpoint(self._value(ENDPOINT), f"key {ENDPOINT} {place}")

    def _value(self, key: str) -> str:
        try:
            value = self._data.get(key, b"").decode().strip()
        except UnicodeDecodeError:
            raise StorageDenied(f"key {key} of Secret {self._name} is no UTF-8 text") from None
        if not value:
            needed = ", ".join((ENDPOINT, ACCESS_KEY, SECRET_KEY))
            raise StorageDenied(f"Secret {self._name} has no key {key}: it needs {needed}")
        return value

    def _certificates(self) -> Path | None:
        """A file, since that is what HTTP libraries read; certificates are public."""
        if self._ca_file is None and self._data.get(CA):
            with tempfile.NamedTemporaryFile(prefix="finetune-ca-", suffix=".crt", delete=False) as file:
                file.write(self._data[CA])
            self._ca_file = Path(file.name)
        return self._ca_file

    def close(self) -> None:
        """Remove the certificates' file."""
        if self._ca_file is not None:
            self._ca_file.unlink(missing_ok=True)
            self._ca_file = None
