"""Builders of the objects that the operator makes."""

from finetune_operator.manifests.job import build_job, job_name

__all__ = ["build_job", "job_name"]
