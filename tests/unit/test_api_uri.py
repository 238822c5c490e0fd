"""Paths and file:// URIs turn into each other without loss."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_sdk.errors import InvalidSpec
from finetune_sdk.uri import path_to_uri, uri_to_path

_parts = st.binary(min_size=1, max_size=12).filter(lambda part: not set(part) & {0, 0x2F} and part not in (b".", b".."))


@given(parts=st.lists(_parts, min_size=1, max_size=4))
def test_any_path_survives(parts: list[bytes]) -> None:
    path = Path("/", *map(os.fsdecode, parts))
    assert uri_to_path(path_to_uri(path)) == path


def test_the_uri_is_readable_and_encoded_where_it_must_be() -> None:
    assert path_to_uri(Path("/data/50 % #1?/ü-{00..09}.tar")) == "file:///data/50%20%25%20%231%3F/%C3%BC-{00..09}.tar"


def test_what_was_left_unencoded_is_part_of_the_name() -> None:
    assert uri_to_path("file:///a b#c?d") == Path("/a b#c?d")
    assert uri_to_path("file://localhost/a") == Path("/a")


@pytest.mark.parametrize(
    "uri", ["s3://bucket/key", "/plain", "file://host/a", "file://a", "file:/a", "file://localhosta"]
)
def test_no_file_uri(uri: str) -> None:
    with pytest.raises(InvalidSpec, match="file://"):
        uri_to_path(uri)


def test_a_relative_path_has_no_uri() -> None:
    with pytest.raises(ValueError, match="is relative"):
        path_to_uri(Path("a"))
