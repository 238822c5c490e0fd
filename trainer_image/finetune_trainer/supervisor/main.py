"""`finetune-trainer`: the entry point of the image.

Signals are heard, and the worker is started, before anything else is imported: what takes a second is a second in which
PID 1 is deaf and the worker could have imported torch.
"""

import os
import sys

from finetune_trainer.supervisor.child import Child
from finetune_trainer.supervisor.environment import worker_environment
from finetune_trainer.supervisor.limits import memory_kills, processors
from finetune_trainer.supervisor.signals import Signals


def main() -> None:
    """The console script."""
    signals, kills = Signals.install(), memory_kills()
    child = Child(worker_environment(os.environ, processors()))
    from finetune_trainer.supervisor.supervise import supervise

    sys.exit(supervise(os.environ, signals, child, kills))


if __name__ == "__main__":
    main()
