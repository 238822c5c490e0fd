"""file:// URIs and paths: the one pair of functions that turns either into the other, so that every name survives."""

import os
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from finetune_sdk.errors import InvalidSpec

_UNQUOTED = "/!$&'()*+,;=:@~{}"
"""What RFC 3986 allows in a path besides letters, digits and -._, and the braces of shard-{0000..0009}.tar.

All else is encoded: '#', '?', '%', spaces.
"""


def path_to_uri(path: Path) -> str:
    """`/data/50 % off#1.csv` becomes `file:///data/50%20%25%20off%231.csv`. `path` must be absolute.

    Bytes that are not UTF-8 survive too. Raises ValueError for a relative path.
    """
    if not path.is_absolute():
        raise ValueError(f"{path} is relative: resolve it against a folder first")
    return "file://" + quote_from_bytes(os.fsencode(path), safe=_UNQUOTED)


def uri_to_path(uri: str) -> Path:
    """The path that a file:// URI names; the inverse of `path_to_uri`.

    A '#' or '?' left unencoded is part of the name: files have neither fragments nor queries.
    Raises InvalidSpec for another scheme, a host, or a path that is not absolute.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme != "file":
        raise InvalidSpec(f"{uri!r} is no file:// URI")
    path = rest.removeprefix("localhost")
    if not path.startswith("/"):
        raise InvalidSpec(f"{uri!r} names a host or a relative path: write file:///ABSOLUTE/PATH, with three slashes")
    return Path(os.fsdecode(unquote_to_bytes(path)))
