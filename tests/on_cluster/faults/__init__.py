"""The operator in a world that breaks: killed, refused, cut off, doubled."""
