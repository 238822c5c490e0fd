"""Are the generated files what the code says? `--write` writes them again.

python -m tests.support.drift [--write]
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from finetune_sdk.cli.schema import json_schema
from finetune_sdk.crd import crd_text
from tests.support import chart_docs
from tests.support.client_docs import client_text, kubectl_text
from tests.support.job_yaml import job_texts
from tests.support.reference import reference_text

ROOT = Path(__file__).resolve().parents[2]


def schema_text() -> str:
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


GENERATED: dict[str, Callable[[], str]] = {
    "crds/finetunerun.schema.json": schema_text,
    "crds/finetuneruns.finetune.dev.yaml": crd_text,
    "charts/finetune-operator/files/crd.yaml": crd_text,
    "charts/finetune-operator/README.md": chart_docs.readme_text,
    "charts/finetune-operator/values.schema.json": chart_docs.schema_text,
    "docs/reference/kubectl-finetune.md": kubectl_text,
    "docs/reference/python-client.md": client_text,
    "docs/reference/run-yaml.md": reference_text,
    **job_texts(),
}


def main() -> int:
    stale = []
    for name, text in GENERATED.items():
        path = ROOT / name
        wanted = text()
        if "--write" in sys.argv:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != wanted:
            stale.append(name)
    if stale:
        print(f"not what the code says: {', '.join(stale)}. Run `make schema` and commit the result.", file=sys.stderr)
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
