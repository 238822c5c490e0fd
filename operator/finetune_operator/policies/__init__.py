"""One policy a file; all pure."""
