"""The pipeline: prepare, baseline, train, select, evaluate, export, report; each stage resumable."""
