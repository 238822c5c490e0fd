"""Checkpoints in a store: whole or invisible, whatever happens while they are written."""
