"""The one place where an S3 server's refusals and broken connections become ours: URI, what was said, what to do.

What a server said is quoted without keys and without the query of a signed URL.
"""

import re
import ssl
from collections.abc import Iterable
from dataclasses import dataclass

import urllib3.exceptions

from finetune_sdk.errors import FinetuneError, ObjectNotFound, StorageDenied, StorageUnavailable
from finetune_sdk.storage.credentials import Credentials

_QUOTED_LENGTH = 200
"""Characters of a server's own words that a message repeats."""


@dataclass(frozen=True)
class Answer:
    """An S3 server's refusal: HTTP status, S3 error code (may be empty) and message."""

    status: int
    code: str
    message: str


@dataclass(frozen=True)
class Verdict:
    """Ours for an error of S3, and whether the same request may succeed soon."""

    error: FinetuneError
    transient: bool


def translate_answer(answer: Answer, uri: str, bucket: str, credentials: Credentials) -> Verdict:
    """What an S3 server's refusal means for a run."""
    said = _quote(answer, credentials.secrets)
    server = credentials.endpoint
    if answer.code in _FULL_CODES or answer.status == 507:
        return Verdict(StorageUnavailable(f"{uri} cannot be written: {server} is full ({said}); free space"), False)
    if answer.status >= 500 or answer.status == 429 or answer.code in _TRANSIENT_CODES:
        return Verdict(StorageUnavailable(f"{uri}: {server} keeps failing ({said}); look at its log"), True)
    if answer.code in ("NoSuchKey", "NoSuchVersion"):
        return Verdict(ObjectNotFound(f"{uri} does not exist"), False)
    return Verdict(StorageDenied(f"{uri}: {_why_denied(answer, said, bucket, credentials)}"), False)


_FULL_CODES = {"XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "QuotaExceeded", "InsufficientCapacity"}
_TRANSIENT_CODES = {
    "BandwidthLimitExceeded",
    "ConditionalRequestConflict",
    "IncompleteBody",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "SlowDownRead",
    "SlowDownWrite",
    "TooManyRequests",
    "BadDigest",  # a part that was damaged on its way
}
_CLOCK_CODES = {"RequestTimeTooSkewed", "RequestExpired", "RequestNotReadyYet"}
_REGION_CODES = {
    "AuthorizationHeaderMalformed",
    "AuthorizationQueryParametersError",
    "IllegalLocationConstraintException",
    "PermanentRedirect",
    "Redirect",
    "TemporaryRedirect",
    "InvalidRegion",
}
_TOKEN_CODES = {"ExpiredToken", "InvalidToken", "InvalidTokenId", "TokenRefreshRequired", "XMinioInvalidTokenId"}
_CLOCK_WORDS = re.compile(r"request has expired|not valid yet|request is not yet|too skewed", re.IGNORECASE)


def _why_denied(answer: Answer, said: str, bucket: str, credentials: Credentials) -> str:
    server, origin = credentials.endpoint, credentials.origin
    if answer.code == "NoSuchBucket":
        return f"there is no bucket {bucket!r} at {server}: create it, or correct the URI"
    if answer.code in _CLOCK_CODES or _CLOCK_WORDS.search(answer.message):
        return f"the clocks of this machine and of {server} differ ({said}): set them by NTP"
    if answer.code == "InvalidAccessKeyId":
        return f"{server} does not know the access key ({said}): check {origin.access_key}"
    if answer.code == "SignatureDoesNotMatch":
        return f"the secret key does not fit the access key at {server} ({said}): check {origin.secret_key}"
    if answer.code in _TOKEN_CODES:
        return f"{server} refuses the session token ({said}): renew the credentials"
    if answer.code in _REGION_CODES or answer.status in (301, 302, 307, 308):
        return f"{server} wants another region or endpoint ({said}): check {origin.region} and {origin.endpoint}"
    if answer.code == "AccessDenied" or answer.status in (401, 403):
        if credentials.access_key is None:
            return f"{server} refuses anonymous access ({said}): set {origin.access_key} and {origin.secret_key}"
        return f"{server} refuses this to the given key ({said}): allow it for bucket {bucket!r}, or use another key"
    if not answer.code:
        return f"{server} does not answer like an S3 server ({said}): check {origin.endpoint}"
    return f"{server} refuses ({said})"


def translate_transport_error(
    error: urllib3.exceptions.HTTPError | OSError, uri: str, credentials: Credentials
) -> Verdict:
    """What a connection that failed means for a run."""
    server, origin = credentials.endpoint, credentials.origin
    said = _cause(error)
    if isinstance(said, ssl.SSLCertVerificationError):
        why = f"the certificate of {server} is not trusted ({said.verify_message})"
        return Verdict(StorageDenied(f"{uri}: {why}: name its CA by {origin.ca}"), False)
    if isinstance(said, ssl.SSLError) and said.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
        why = f"{server} does not speak TLS"
        return Verdict(StorageDenied(f"{uri}: {why}: write http:// in {origin.endpoint}"), False)
    if isinstance(error, urllib3.exceptions.NameResolutionError):
        words = "its name is not known"
    elif isinstance(said, OSError) and said.strerror:
        words = said.strerror
    elif isinstance(error, urllib3.exceptions.TimeoutError):
        words = "no answer in time"
    else:
        words = "the connection broke"
    why = f"{server} cannot be reached ({redact(words, credentials.secrets)})"
    return Verdict(StorageUnavailable(f"{uri}: {why}: check {origin.endpoint} and whether the server runs"), True)


def _cause(error: BaseException) -> BaseException:
    """The innermost error: urllib3 wraps what the socket said in one or two of its own."""
    seen = {id(error)}
    while True:
        inner = next((arg for arg in error.args if isinstance(arg, BaseException)), None)
        inner = inner or getattr(error, "reason", None)
        inner = inner if isinstance(inner, BaseException) else error.__cause__ or error.__context__
        if inner is None or id(inner) in seen:
            return error
        seen.add(id(inner))
        error = inner


def _quote(answer: Answer, secrets: Iterable[str]) -> str:
    said = " ".join(redact(answer.message, secrets).split())[:_QUOTED_LENGTH]
    name = answer.code or f"HTTP {answer.status}"
    return f"{name}: {said}" if said else name


_SIGNED_QUERY = re.compile(r"\?[^\s'\"<>]*X-Amz-[^\s'\"<>]*", re.IGNORECASE)


def redact(text: str, secrets: Iterable[str]) -> str:
    """`text` without keys and without the queries of signed URLs."""
    text = _SIGNED_QUERY.sub("?...", text)
    for secret in secrets:
        text = text.replace(secret, "***")
    return text
