"""The model card: README.md beside the model, with what was measured and how to open each form."""

from collections.abc import Mapping, Sequence

from finetune_sdk.api.model import ImageTower, Model, TextTower
from finetune_sdk.api.output import ExportFormat
from finetune_trainer.evaluation.gate import sentence
from finetune_trainer.evaluation.measure import Measured, changes
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.pipeline.attempt import Attempt
from finetune_trainer.pipeline.figures import Metrics
from finetune_trainer.records import MetricChange, Selection

_OPENED: Mapping[ExportFormat, str] = {
    "open_clip": """With open_clip, in this folder:

```python
import open_clip

model, _, preprocess = open_clip.create_model_and_transforms("local-dir:.")
tokenizer = open_clip.get_tokenizer("local-dir:.")
```
""",
    "huggingface": """With transformers:

```python
from transformers import CLIPModel, CLIPProcessor

model = CLIPModel.from_pretrained("huggingface")
processor = CLIPProcessor.from_pretrained("huggingface")
inputs = processor(text=["a photo"], padding="max_length", truncation=True, return_tensors="pt")
embeddings = model.get_text_features(**inputs).pooler_output
```
""",
    "onnx": """With onnxruntime; outputs are L2-normalised, `onnx/preprocess.json` says how pictures become pixels:

```python
import onnxruntime

image = onnxruntime.InferenceSession("onnx/image.onnx")
embeddings = image.run(None, {"pixels": pixels})[0]  # (batch, 3, height, width) float32
text = onnxruntime.InferenceSession("onnx/text.onnx")
embeddings = text.run(None, {"tokens": tokens})[0]  # (batch, context) int64
```
""",
}
_CAVEATS = (
    "The figures hold for pictures and captions like the test set's. Biases of the base model and of the training data "
    "are still in it. Licences of base model and data apply to it."
)


def model_card(
    attempt: Attempt, model: ClipModel, metrics: Metrics, figures: tuple[Measured, Measured], selection: Selection
) -> str:
    """The card as Markdown, from the figures before and after."""
    changed = changes(*figures, seed=attempt.spec.training.seed)
    after = figures[1].evaluation
    chosen = selection.chosen
    weights = (
        "the base's own: no checkpoint was better on validation"
        if selection.no_gain
        else f"step {chosen.step}, mixed {1 - chosen.alpha:g} base + {chosen.alpha:g} fine-tuned"
    )
    exports: list[ExportFormat] = ["open_clip", *attempt.spec.output.exports]
    measured = (
        f"Zero-shot retrieval on {after.images} held-out pictures with {after.captions} captions, the same before and "
        "after; equal to `clip_benchmark eval --no_amp`. The interval is a paired bootstrap over pictures."
    )
    made = (
        f"- weights: {weights}\n- SHA-256 of the weights: `{after.weights_digest}`\n"
        f"- SHA-256 of the test queries: `{after.queries_digest}`\n"
        "- every setting: `run.json` of the run; the report is `report.html`"
    )
    parts = [
        _front_matter(exports),
        f"# {attempt.run.metadata.name}",
        what_it_is(attempt.spec.model, model, selection.no_gain),
        sentence(metrics.headline, changed[metrics.headline], selection.no_gain),
        "## Measured",
        measured,
        figures_table(changed),
        "## Made by",
        made,
        "## Open it",
        "\n".join(_OPENED[name] for name in dict.fromkeys(exports)),
        "## Know before use",
        _CAVEATS,
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def what_it_is(spec: Model, model: ClipModel, no_gain: bool) -> str:
    """The base by name, and what became of it. `spec`: what the run began from."""
    done = (
        "left as it is: no fine-tuned weights were better on validation"
        if no_gain
        else "fine-tuned on pictures with captions"
    )
    if spec.towers is not None:
        towers = f"{_tower(spec.towers.image)} and {_tower(spec.towers.text)}"
        return f"A model composed of {towers}, with new projections, {done}."
    if spec.weights is not None and spec.weights.random is not None:
        return f"{model.name} with random weights, {done}."
    return f"{model.name} with the weights {model.source}, {done}."


def _tower(spec: ImageTower | TextTower) -> str:
    name = f"timm's {spec.timm}" if isinstance(spec, ImageTower) else f"Hugging Face's {spec.huggingface}"
    return name if spec.uri is None else f"{name} ({spec.uri})"


def figures_table(changed: Mapping[str, MetricChange]) -> str:
    """A Markdown table of recalls in per cent, gains in points with their 95 % interval."""
    rows = ["| metric | before | after | gain | 95 % interval |", "|---|---|---|---|---|"]
    for name, change in changed.items():
        low, high = change.interval95.low, change.interval95.high
        rows.append(
            f"| {name} | {100 * change.before:.1f} % | {100 * change.after:.1f} % | {100 * change.gain:+.1f} | "
            f"{100 * low:+.1f} to {100 * high:+.1f} |"
        )
    return "\n".join(rows)


def _front_matter(exports: Sequence[ExportFormat]) -> str:
    library = "transformers" if "huggingface" in exports else "open_clip"
    tags = "\n".join(f"- {tag}" for tag in ("clip", *(["onnx"] if "onnx" in exports else [])))
    return f"---\nlibrary_name: {library}\npipeline_tag: zero-shot-image-classification\ntags:\n{tags}\n---"
