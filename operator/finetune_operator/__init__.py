"""The operator: FinetuneRuns in, Jobs and a true status out."""
