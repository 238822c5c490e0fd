"""Messages as the API server takes them."""

MAX_MESSAGE = 4096
"""Characters that the schema allows."""
_GAP = " ... "


def bounded(message: str, most: int = MAX_MESSAGE) -> str:
    """`message` without its middle where it is too long: what happened stands first, what would help last."""
    message = message.encode("utf-8", "replace").decode()  # a lone surrogate would come back as another character
    if len(message) <= most:
        return message
    kept = most - len(_GAP)
    return message[: kept - kept // 3] + _GAP + message[len(message) - kept // 3 :]
