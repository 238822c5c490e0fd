"""`python -m finetune_sdk` is the `finetune` command."""

from finetune_sdk.cli.main import program

program()
