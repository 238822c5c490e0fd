"""Values to put where another is expected: of every type, at every bound, near every pattern, and odd."""

import copy
from collections.abc import Iterator
from typing import Any

from finetune_sdk.api import patterns

Json = dict[str, Any]


def nested(depth: int, of: type) -> Any:
    """Lists in lists, or maps in maps."""
    value: Any = of()
    for _ in range(depth):
        value = [value] if of is list else {"a": value}
    return value


ANYWHERE: tuple[Any, ...] = (
    None, True, False,
    0, 1, -1, 5, 100, 2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**30,
    0.0, -0.0, 1.0, 5.0, 0.5, 1.5, -0.5, 1e-7, 1e300, 5e-324, 2147483647.0,
    "", " ", "0", "1", "5", "5.0", "-1", "auto", "Auto", "true", "null", "a", "A", "é", "\U0001f525", "\x00", "\n",
    "a\n", "\ta", "a\u2028b", "\x7f", "\ufeffa", "a\u0301", "\u202ea", "${A}", "{{a}}", "'", '"', "\\",
    "a" * 300, "é" * 128, "\U0001f525" * 1100,
    [], [None], [[]], [1], [1, 1], [1, 1.0], ["a"], ["a", "a"], [{}], [{}, {}], [{"name": "a"}], nested(40, list),
    {}, {"a": None}, {"a": 1}, {"a": "b"}, {"a": {}}, {"": "a"}, {"a": [None]}, {"a": {"b": None}}, {"name": "a"},
    {"é" * 5: "b"}, {"a\n": "b"}, {"\x00": "b"}, {f"k{index}": "a" for index in range(20)}, nested(40, dict),
)  # fmt: skip
"""Tried at every place."""

NEAR: dict[str, tuple[str, ...]] = {
    patterns.URI_PATTERN: (
        "s3://b", "s3://bucket/a b", "s3://b/é#%20{0..9}", "file:///", "file:///a", "file://a/b", "s3://", "s3:///a",
        "s3:// b", "S3://b", "gs://b", "s3:/b", "/a", "a", "file:", "file://", "s3://b/\n", "s3://b/\x7f", "xs3://b",
        "s3://b\n", "file:///a\tb", "\ns3://b",
    ),
    patterns.NAME_PATTERN: ("a", "a-b", "a0", "0a", "-a", "a-", "A", "a.b", "a_b", "a\n", "\na", "a" * 63, "a" * 64),
    patterns.OBJECT_NAME_PATTERN: (
        "a", "0", "a.b", "a-b.c-d", "a..b", ".a", "a.", "a-.b", "a.-b", "-a", "a-", "A", "a\n", "a" * 253, "a" * 254,
    ),
    patterns.QUANTITY_PATTERN: (
        "1", "+1", "-1", "0", "1.5", "1.", ".5", ".", "16Gi", "16GB", "16gi", "500m", "1k", "1K", "1Ki", "1e3", "1E3",
        "1e-3", "1E", "1e", "1Gi ", " 1", "1_000", "0x1", "1Gi\n", "1" * 32, "1" * 33, "Inf", "1n", "1u",
    ),
    patterns.PUBLISHED_NAME_PATTERN: ("a", "A.b_c-d", "0", "-a", ".a", "_a", "a/b", "a b", "a\n", "é", "a" * 128),
    patterns.HUB_NAME_PATTERN: ("a", "a/b", "a/", "/a", "a/b/c", "a//b", "a/-b", "A.b/c_d", "a/b\n", "a/" + "b" * 126),
    patterns.METRIC_PATTERN: (
        "image_retrieval_recall@1", "image_retrieval_recall@5", "text_retrieval_recall@10", "text_retrieval_recall@05",
        "text_retrieval_recall@0", "image_retrieval_recall@999999", "image_retrieval_recall@1000000", "recall@5",
        "image_retrieval_recall@", "image_retrieval_recall@5@5", "image_retrieval_recall@5\n",
        "Image_retrieval_recall@5", "image_retrieval_recall@\u0665", "image_retrieval_recall@7",
    ),
    patterns.RESOURCE_NAME_PATTERN: ("a", "a.b/c-D", "A", "a/", "/a", "a b", "nvidia.com/gpu", "a" * 253, "a" * 254),
    patterns.IMAGE_PATTERN: ("a", "a:b@sha256:c", "a b", "a\u00a0b", "a\n", "~", "!", "a" * 512, "a" * 513),
    patterns.VARIABLE_PATTERN: ("A", "_", "a0", "0a", "A-B", "A.B", "A B", "A\n", "É", "A" * 128, "A" * 129),
    patterns.ABSOLUTE_PATTERN: ("/", "/a", "a", "./a", "\n/a", "/a\n", " /a", "/" + "a" * 511, "/" + "é" * 511),
    patterns.ONE_LINE_PATTERN: ("a b", "é", "a\u2028b", "a\u0085b", "a\nb", "a\tb", "\x1f", "\x7f", "\x80"),
}  # fmt: skip
"""By pattern: texts that match, and texts that nearly do."""


def values_for(node: Json, present: Any) -> Iterator[Any]:
    """What a schema's node makes interesting, beside ANYWHERE; `present` is a valid value for it."""
    for choice in (node, *node.get("anyOf", [])):
        yield from choice.get("enum", [])
        yield from _numbers(choice)
        yield from _texts(choice)
    if isinstance(present, list):
        yield from _lists(node, present)
    if isinstance(present, dict):
        yield from _maps(present)
        if "maxProperties" in node:
            yield from _sizes(node, present)


def _numbers(node: Json) -> Iterator[Any]:
    for bound in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        value = node.get(bound)
        if value is not None and not isinstance(value, bool):
            yield from (
                value,
                value - 1,
                value + 1,
                float(value),
                value - 0.5,
                value + 0.5,
                value * 1.00001,
                str(value),
            )


def _texts(node: Json) -> Iterator[str]:
    for bound in ("minLength", "maxLength"):
        for length in (node[bound] - 1, node[bound], node[bound] + 1) if bound in node else ():
            yield from (one * length for one in ("a", "é", "\U0001f525"))
            yield f"s3://b/{'a' * (length - 7)}"
            yield f"file:///{'é' * (length - 8)}"
    yield from NEAR.get(node.get("pattern", ""), ())


def _lists(node: Json, present: list[Any]) -> Iterator[list[Any]]:
    item = present[0]
    for bound in ("minItems", "maxItems"):
        if bound in node:
            yield from ([item] * count for count in (node[bound] - 1, node[bound], node[bound] + 1))
    yield from ([*present, item], [*present, None], present[:1], present[::-1], [*present, [item]], [[*present]])
    if isinstance(item, int):
        yield from (list(range(1, count + 1)) for count in (15, 16, 17, 32, 33))
        yield from ([1, 5.0, 10], [1, 5, 5.0], [1, True], ["1", 1])


def _maps(present: Json) -> Iterator[Json]:
    some = next(iter(present), "a")
    yield from ({**present, "unknown": 1}, {**present, "": 1}, {**present, some.upper(): present.get(some)})
    yield from ({**present, f"{some} ": present.get(some)}, {**present, some: None}, {**present, "unknown": None})
    for key in present:
        yield {name: copy.deepcopy(value) for name, value in present.items() if name != key}
        yield {(_snake(name) if name == key else name): copy.deepcopy(value) for name, value in present.items()}


def _sizes(node: Json, present: Json) -> Iterator[Json]:
    value = next(iter(present.values()))
    most = node["maxProperties"]
    for count in (0, most, most + 1):
        yield {f"k{index}": value for index in range(count)}
    yield {f"k{index}": None if index else value for index in range(most + 2)}
    for bound in (1, 128, 253):
        yield from ({one * length: value} for length in (bound, bound + 1) for one in ("a", "é", "\U0001f525"))
    yield from ({"a b": value}, {"a/b": value}, {"a\nb": value}, {"a'b": value}, {"\u2028": value})


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
