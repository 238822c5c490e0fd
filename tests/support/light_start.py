"""Commands that must not cost the seconds that torch takes to import."""

import subprocess
import sys

HEAVY = ("torch", "open_clip", "finetune_trainer")


def output_of_light(*arguments: str) -> str:
    """What `finetune` with these arguments prints, in a process of its own that ends well and imports none of HEAVY."""
    program = (
        f"import sys; from finetune_sdk.cli.main import main; assert main({list(arguments)}) == 0;"
        f"sys.exit(not set({HEAVY}).isdisjoint(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
