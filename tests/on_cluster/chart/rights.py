"""What the operator may do, written down a second time, so that the chart cannot widen it by itself."""

import re
from pathlib import Path
from typing import Any

Json = dict[str, Any]
Rights = dict[tuple[str, str], set[str]]
"""By group and resource, the verbs."""
PAGE = Path(__file__).resolve().parents[3] / "docs/reference/rbac.md"
READ = {"get", "list", "watch"}

ON_RUNS: Rights = {
    ("finetune.dev", "finetuneruns"): READ,
    ("finetune.dev", "finetuneruns/status"): {"patch"},
    ("finetune.dev", "finetuneruns/finalizers"): {"update"},
    ("batch", "jobs"): READ | {"create", "patch", "delete"},
    ("", "pods"): READ,
    ("", "events"): {"get", "list", "create"},
}
ON_LEASES: Rights = {("coordination.k8s.io", "leases"): {"get", "create", "update"}}
VIEW: Rights = {("finetune.dev", "finetuneruns"): READ}
EDIT: Rights = {
    ("finetune.dev", "finetuneruns"): READ | {"create", "update", "patch", "delete", "deletecollection"},
}


def rights_of(rules: list[Json]) -> Rights:
    """Rules of a role, or of a SelfSubjectRulesReview, by what they are on. A rule bound to names is none of these."""
    found: Rights = {}
    for rule in rules:
        assert not rule.get("resourceNames"), rule
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                found.setdefault((group, resource), set()).update(rule["verbs"])
    return found


def rights_of_page() -> dict[str, Rights]:
    """The tables of docs/reference/rbac.md by their section."""
    told: dict[str, Rights] = {}
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        title, _, text = section.partition("\n")
        rows = re.findall(r"^\| (`[\w.-]+`|core) \| `([\w/]+)` \| ([`\w ]+) \|", text, re.MULTILINE)
        if rows:
            told[title] = {
                ("" if group == "core" else group.strip("`"), resource): set(re.findall(r"\w+", verbs))
                for group, resource, verbs in rows
            }
    return told
