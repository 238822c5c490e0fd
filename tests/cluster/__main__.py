"""The test cluster from the command line: one to try things in, with an operator and a bucket for the examples.

python -m tests.cluster up [DIR]     brings it up and prints the next commands
python -m tests.cluster down [DIR]   ends it and removes its files
python -m tests.cluster load DIR IMAGE...   builds images anew and hands them to the node
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from minio import Minio

from tests.cluster import images
from tests.cluster.lab import ROOT, Lab, at, down, kubectl, up
from tests.support.cluster_runs import Bucket

DEFAULT = Path(tempfile.gettempdir()) / "finetune-cluster"
TOWERS = ROOT / "demo/output/towers"
NEXT = """
The cluster is up, after {seconds:.0f} s: a node, MinIO at {endpoint}, and the operator.
Its namespace `default` has the keys to MinIO, and bucket `demo` the data of examples/emoji.yaml. Next:

  export KUBECONFIG={kubeconfig} PATH={path}:$PATH
  kubectl apply -f examples/emoji.yaml
  kubectl get ftr -w

`make cluster-down` ends it."""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("command", choices=("up", "down", "load"))
    parser.add_argument("home", type=Path, nargs="?", default=DEFAULT)
    parser.add_argument("images", nargs="*")
    given = parser.parse_args()
    home: Path = given.home.absolute()
    if given.command == "down":
        down(home)
    elif given.command == "load":
        for image in given.images or images.DOCKERFILES:
            images.build(image)
            at(home).node.load_image(image)
    elif home.exists():
        sys.exit(f"{home} exists: a cluster may be up there; `python -m tests.cluster down {home}` ends it")
    else:
        _bring_up(home)


def _bring_up(home: Path) -> None:
    began = time.monotonic()
    print("bringing up a cluster with a node; the first time it is built, for about half an hour", file=sys.stderr)
    try:
        lab = up(home)
    except RuntimeError as error:
        sys.exit(str(error))
    _fill(lab)
    print(
        NEXT.format(
            seconds=time.monotonic() - began,
            endpoint=lab.storage.endpoint,
            kubeconfig=lab.kubeconfig,
            path=kubectl().parent,
        )
    )


def _fill(lab: Lab) -> None:
    """The keys in `default`, and what examples/emoji.yaml reads."""
    if not all((TOWERS / name).exists() for name in ("image", "text")):
        subprocess.run([sys.executable, ROOT / "demo/towers.py", TOWERS], check=True, stdout=sys.stderr)
    client: Minio = lab.storage.client()
    for name in ("demo", "models", "datasets"):
        client.make_bucket(name)
    demo = Bucket(client, "demo", lab.storage.endpoint, lab.storage.access_key, lab.storage.secret_key)
    demo.upload(ROOT / "demo/data/drawn", "drawn/")
    demo.upload(TOWERS, "towers/")
    lab.kubectl("apply", "-n", "default", "-f", "-", stdin=json.dumps(demo.secret()))


if __name__ == "__main__":
    main()
