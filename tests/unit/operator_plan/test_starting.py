"""From Pending to a running trainer: what holds a run back, in whose words, and what would help."""

import pytest

from tests.unit.operator_plan.given import CREATE, Row, a_run, check, deleting, mounted, running, unscheduled, waiting

NEW, MADE = a_run(), a_run().seen("Starting").with_job()
NO_GPU = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available."
QUOTA = (
    'Error creating: pods "r-trainer-x7k2p" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=1'
)
PULL = 'failed to pull and unpack image "trainer:1": not found'
NO_SECRET = 'MountVolume.SetUp failed for volume "finetune-storage" : secret "finetune-storage" not found'
SECRET_LINE = "kubectl create secret generic finetune-storage -n n --from-literal=endpoint=URL"
STARTING: dict[str, Row] = {
    "a new run gets its Job": Row(NEW, [CREATE], "Starting"),
    "a Job without a pod yet": Row(MADE, [], "Starting", "", ("starts",)),
    "a pod that pulls its image": Row(MADE.with_pod(waiting()), [], "Starting"),
    "a running pod": Row(MADE.with_pod(running()), [], "Running"),
    "no Job while a pod of an earlier run of the name saves": Row(
        NEW.with_pod(deleting(running()), labels={"finetune.dev/run": "r", "finetune.dev/run-uid": "earlier"}),
        [], "Pending", "WaitingForPreviousPods", ("r-trainer-1", "grace period")),
    "an orphan that nobody ends is named with the line that does": Row(
        NEW.with_pod(running(), labels={"finetune.dev/run": "r", "finetune.dev/run-uid": "earlier"}),
        [], "Pending", "WaitingForPreviousPods", ("kubectl delete pod r-trainer-1",)),
    "no Job while that of a deleted run is there": Row(
        NEW.with_job(owner="earlier"), [], "Pending", "WaitingForPreviousPods", ("r-trainer",)),
    "no Job while its predecessor is being deleted": Row(
        NEW.with_job(deleting=True), [], "Pending", "WaitingForPreviousPods"),
    "an earlier pod on a lost node": Row(
        NEW.with_pod(deleting(running(), -31), labels={"finetune.dev/run": "r", "finetune.dev/run-uid": "earlier"}),
        [], "Pending", "NodeLost", ("node1", "kubectl taint node node1")),
    "a Job of the name that is another's": Row(
        NEW.with_job(owner="", run=""), [], "Pending", "JobRejected",
        ("kubectl delete job r-trainer -n n", "metadata.name")),
    "a Job that a run left as an orphan": Row(NEW.with_job(owner=""), [], "Pending", "JobRejected"),
    "a Job that the API server refuses": Row(
        NEW.refused("env[0].name: Invalid value"), [], "Pending", "JobRejected",
        ("env[0].name: Invalid value", "spec.compute")),
    "and it is tried again": Row(NEW.refused("no", seconds=-10), [CREATE], "Starting"),
    "no node has a GPU": Row(
        MADE.with_pod(unscheduled(NO_GPU)), [], "Starting", "Unschedulable", (NO_GPU[:40], "spec.compute.gpusPerNode")),
    "no node has the memory": Row(
        MADE.with_pod(unscheduled("0/1 nodes are available: 1 Insufficient memory.")), [], "Starting", "Unschedulable",
        ("spec.compute.resources.requests.memory",)),
    "no node is without a taint": Row(
        MADE.with_pod(unscheduled("0/1 nodes are available: 1 node(s) had untolerated taint {gpu: true}.")),
        [], "Starting", "Unschedulable", ("spec.compute.tolerations",)),
    "no node has the labels": Row(
        MADE.with_pod(unscheduled("1 node(s) didn't match Pod's node affinity/selector.")),
        [], "Starting", "Unschedulable", ("spec.compute.nodeSelector",)),
    "no node at all": Row(
        MADE.with_pod(unscheduled("no nodes available to schedule pods")), [], "Starting", "Unschedulable",
        ("spec.compute.resources",)),
    "no volume for a pod": Row(
        MADE.with_pod(unscheduled('persistentvolumeclaim "cache" not found')), [], "Starting", "Unschedulable",
        ("spec.compute.volumes",)),
    "an image that does not exist": Row(
        MADE.with_pod(waiting("ErrImagePull", PULL)), [], "Starting", "ImagePullFailed",
        ("image trainer:1", PULL, "spec.compute.image", "spec.compute.imagePullSecrets")),
    "an image of the user's": Row(
        a_run(compute={"image": "mine:2"}).seen("Starting").with_job().with_pod(waiting("InvalidImageName", "bad")),
        [], "Starting", "ImagePullFailed", ("look at spec.compute.image",)),
    "a quota": Row(
        MADE.with_event("job", "FailedCreate", QUOTA), [], "Starting", "PodRejected",
        ("exceeded quota: gpus, requested: requests.nvidia.com/gpu=1", "Raise the quota", "spec.compute.gpusPerNode")),
    "a quota, told for the eleventh time": Row(
        MADE.with_event("job", "FailedCreate", f"(combined from similar events): {QUOTA}"),
        [], "Starting", "PodRejected", ("refuses the pod: it is forbidden: exceeded quota",)),
    "pod security": Row(
        MADE.with_event("job", "FailedCreate", 'Error creating: pods "x" is forbidden: violates PodSecurity "x"'),
        [], "Starting", "PodRejected", ("spec.compute.securityContext",)),
    "a priority class that is not there": Row(
        MADE.with_event("job", "FailedCreate", "Error creating: no PriorityClass with name high was found"),
        [], "Starting", "PodRejected", ("spec.compute.priorityClassName",)),
    "a service account that is not there": Row(
        MADE.with_event("job", "FailedCreate", 'error looking up service account n/x: serviceaccount "x" not found'),
        [], "Starting", "PodRejected", ("spec.compute.serviceAccountName",)),
    "a policy of the platform's": Row(
        MADE.with_event("job", "FailedCreate", 'Error creating: admission webhook "p.example" denied the request: no'),
        [], "Starting", "PodRejected", ("p.example", "spec.compute")),
    "a refusal that a pod followed is over": Row(
        MADE.with_event("job", "FailedCreate", QUOTA, -60).with_pod(waiting()), [], "Starting"),
    "the storage Secret is missing": Row(
        MADE.with_pod(waiting()).with_event("r-trainer-1", "FailedMount", NO_SECRET),
        [], "Starting", "VolumeMountFailed", (NO_SECRET, SECRET_LINE)),
    "a Secret of spec.compute.env is missing": Row(
        MADE.with_pod(waiting("CreateContainerConfigError", 'secret "tokens" not found')),
        [], "Starting", "VolumeMountFailed", ("kubectl create secret generic tokens -n n --from-literal=KEY=VALUE",)),
    "a key of a Secret is missing": Row(
        MADE.with_pod(waiting("CreateContainerConfigError", "couldn't find key token in Secret n/tokens")),
        [], "Starting", "VolumeMountFailed", ("Add the key token to Secret n/tokens", "spec.compute.env")),
    "a ConfigMap is missing": Row(
        MADE.with_pod(waiting()).with_event("r-trainer-1", "FailedMount", 'configmap "ca" not found'),
        [], "Starting", "VolumeMountFailed", ("kubectl create configmap ca -n n",)),
    "a volume that does not attach": Row(
        MADE.with_pod(waiting()).with_event("r-trainer-1", "FailedAttachVolume", "Multi-Attach error"),
        [], "Starting", "VolumeMountFailed", ("Multi-Attach error", "spec.compute.volumes")),
    "a mount that failed before it came about": Row(
        MADE.with_pod(waiting("ContainerCreating", "", mounted())).with_event("r-trainer-1", "FailedMount", NO_SECRET),
        [], "Starting"),
}  # fmt: skip


@pytest.mark.parametrize("row", STARTING.values(), ids=STARTING)
def test_starting(row: Row) -> None:
    check(row)


def test_a_back_off_says_the_same_as_the_pull_that_failed() -> None:
    """One message is one status write, however often the kubelet changes its words."""
    first = MADE.with_pod(waiting("ErrImagePull", PULL))
    again = MADE.with_pod(waiting("ImagePullBackOff", f'Back-off pulling image "trainer:1": ErrImagePull: {PULL}'))
    decided = first.plan()
    assert again.after(decided).plan().status is None


def test_a_refusal_says_the_same_with_each_new_pods_name() -> None:
    other = MADE.with_event("job", "FailedCreate", QUOTA.replace("x7k2p", "abcde"))
    decided = MADE.with_event("job", "FailedCreate", QUOTA).plan()
    assert other.after(decided).plan().status is None


def test_a_refused_job_is_looked_at_again_when_it_is_due() -> None:
    given = NEW.refused("no", seconds=-4)
    wake = given.plan().wake_at
    assert wake is not None
    assert [str(action) for action in given.plan(6).actions] == [CREATE]
    assert given.plan(5).actions == ()


def test_a_clock_that_was_set_back_does_not_put_off_the_next_try() -> None:
    assert [str(action) for action in NEW.refused("no", seconds=3600).plan().actions] == [CREATE]


def test_values_of_variables_stand_in_no_message() -> None:
    env = [{"name": "TOKEN", "value": "canary-7f"}, {"name": "FINETUNE_RUN", "value": "canary-7f"}]
    refused = a_run(compute={"env": env}).plan().status
    unread = a_run(compute={"env": [{**env[0], "typo": "canary-7f"}], "typo": {"x": "canary-7f"}}).plan().status
    assert refused is not None
    assert unread is not None
    assert "spec.compute.env[1].name: FINETUNE_RUN is set by the operator" in refused.message
    assert "spec.compute.env[0].typo" in unread.message
    assert "canary" not in refused.model_dump_json() + unread.model_dump_json()
