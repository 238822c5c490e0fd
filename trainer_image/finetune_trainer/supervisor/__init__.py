"""PID 1 of a trainer's pod: starts the trainer, serves its progress, and says how it ended. Imports no torch."""
