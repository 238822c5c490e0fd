"""The commands of `kubectl finetune`."""
