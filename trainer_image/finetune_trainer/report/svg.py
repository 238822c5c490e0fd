"""Writes SVG as strings. Colours are CSS classes of the page, so that one drawing serves light, dark and print."""

from collections.abc import Sequence
from html import escape


def number(value: float) -> str:
    """A coordinate: two decimals at most, which is finer than any screen."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def element(name: str, *children: str, **attributes: str | float) -> str:
    """An element with `children`, which must be SVG already. `class_` is class, `aria_label` is aria-label."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value) if isinstance(value, str) else number(value)}"'
        for key, value in attributes.items()
    )
    return f"<{name}{written}>{''.join(children)}</{name}>" if children else f"<{name}{written}/>"


def label(content: str, x: float, y: float, class_: str, anchor: str = "start") -> str:
    """Text with its baseline at y; `content` is escaped."""
    return element("text", escape(content), x=x, y=y, class_=class_, text_anchor=anchor)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> str:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def dot(x: float, y: float, radius: float, class_: str) -> str:
    """A filled circle."""
    return element("circle", cx=x, cy=y, r=radius, class_=class_)


def polyline(points: Sequence[tuple[float, float]], class_: str) -> str:
    """A line through the points."""
    return element("polyline", points=" ".join(f"{number(x)},{number(y)}" for x, y in points), class_=class_)


def whisker(low: float, high: float, y: float, class_: str, cap: float = 4) -> str:
    """A horizontal interval with caps."""
    return (
        line(low, y, high, y, class_)
        + line(low, y - cap, low, y + cap, class_)
        + line(high, y - cap, high, y + cap, class_)
    )


def picture(width: float, height: float, description: str, *children: str, class_: str = "chart") -> str:
    """A whole drawing. `description` is read out in its place; an empty one hides a drawing that repeats its table."""
    told = {"role": "img", "aria_label": description} if description else {"aria_hidden": "true"}
    return element("svg", *children, viewBox=f"0 0 {number(width)} {number(height)}", class_=class_, **told)
