"""`python -m finetune_sdk` is the `finetune` command."""

import sys

from finetune_sdk.cli.main import main

sys.exit(main())
