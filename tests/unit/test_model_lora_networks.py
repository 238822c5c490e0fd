"""Low-rank adapters in timm networks: 1x1 convolutions of attention and MLPs, and networks that tell no blocks."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from finetune_sdk.api.training import Freeze, Lora
from finetune_sdk.errors import InvalidSpec
from finetune_trainer.model.architectures import architecture_config, usual_preprocess
from finetune_trainer.model.assemble import assemble
from finetune_trainer.model.build import build_module
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.freeze import freeze
from finetune_trainer.model.lora import add_lora, check_lora, merge_lora, merged_state
from finetune_trainer.training.memory import Fit
from finetune_trainer.training.state import TrainState
from tests.support.models import CONFIGS, tiny_bert_dir, tiny_model
from tests.support.training import make_batch, parts_of, resolved_for

SPEC = Lora(rank=4, alpha=8.0)
MLP = "visual.trunk.stages.2.blocks.0.mlp.fc1.weight"
QKV = "visual.trunk.stages.2.blocks.0.attn.qkv.weight"


@pytest.fixture
def coatnet(tmp_path: Path) -> ClipModel:
    """Its last blocks have attention and MLPs of 1x1 convolutions, and the first ones such convolutions that are
    neither."""
    vision = CONFIGS["composed"]["vision_cfg"] | {"timm_model_name": "test_coatnet", "image_size": 160}
    config = CONFIGS["composed"] | {"vision_cfg": vision}
    return assemble(config, {}, name="tiny-coatnet", source="random", files=tiny_bert_dir(tmp_path / "t"))


def test_convolutions_of_one_pixel_in_attention_and_mlp_are_adapted_and_merged(coatnet: ClipModel) -> None:
    freeze(coatnet, Freeze())
    places = check_lora(coatnet)["image"]
    base = {name: value.clone() for name, value in coatnet.module.state_dict().items()}
    assert {MLP, QKV} <= {*places}
    assert base[MLP].shape[2:] == base[QKV].shape[2:] == (1, 1)
    assert {name.split(".")[-3] for name in places if base[name].ndim == 4} == {"attn", "mlp"}
    add_lora(coatnet, SPEC, seed=3)
    assert all(torch.equal(value, base[name]) for name, value in merged_state(coatnet.module).items())
    batch = make_batch(coatnet, 0)
    TrainState(coatnet, resolved_for(learning_rate=1e-2), Fit(8, activation_checkpointing=False)).update(batch)
    coatnet.module.eval()
    images = torch.rand(2, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        through = parts_of(coatnet).encode_image(images)
        merged = merged_state(coatnet.module)
        merge_lora(coatnet.module)
        torch.testing.assert_close(parts_of(coatnet).encode_image(images), through, rtol=1e-5, atol=1e-6)
    assert merged.keys() == base.keys()
    assert all(merged[name].shape == base[name].shape for name in (MLP, QKV))
    assert {name for name in places if torch.equal(merged[name], base[name])} == set()


KINDS = {"an MLP's": (MLP, 1, 1), "query, key and value of each head": (QKV, 3, 2)}


@pytest.mark.parametrize(("name", "parts", "heads"), KINDS.values(), ids=KINDS)
def test_the_update_of_a_convolution_is_that_of_a_linear_layer(
    coatnet: ClipModel, name: str, parts: int, heads: int
) -> None:
    freeze(coatnet, Freeze())
    add_lora(coatnet, SPEC, seed=3)
    convolution: Any = coatnet.module.get_submodule(name.removesuffix(".weight"))
    update: Any = convolution.parametrizations.weight[0]
    with torch.no_grad():
        update.up.normal_(generator=torch.Generator().manual_seed(0))
        changes = [(update.up[part] @ update.down[part]).chunk(heads) for part in range(parts)]
        change = torch.cat([changes[part][head] for head in range(heads) for part in range(parts)])
        linear = convolution.parametrizations.weight.original[..., 0, 0] + 2 * change
        pixels = torch.rand(1, linear.shape[1], 2, 2, generator=torch.Generator().manual_seed(1))
        expected = torch.einsum("oi,bihw->bohw", linear, pixels)
        expected += 0 if convolution.bias is None else convolution.bias[:, None, None]
        merged = merged_state(coatnet.module)[name]
        torch.testing.assert_close(convolution(pixels), expected)
        torch.testing.assert_close(merged[..., 0, 0], linear)
    assert update.up.shape[0] == parts


OF_CONVOLUTIONS = {
    "mobilenetv4_hybrid_medium": ("attn.query.proj", "attn.key.proj", "attn.value.proj", "attn.output.proj"),
    "efficientformerv2_s0": ("token_mixer.q.conv", "token_mixer.k.conv", "token_mixer.v.conv", "token_mixer.proj.conv"),
    "mobilevitv2_050": ("attn.qkv_proj", "attn.out_proj"),
}


@pytest.mark.parametrize(("network", "parts"), OF_CONVOLUTIONS.items(), ids=OF_CONVOLUTIONS)
def test_attention_of_convolutions_is_adapted_under_any_name(tmp_path: Path, network: str, parts: tuple[str]) -> None:
    config = CONFIGS["composed"] | {"vision_cfg": CONFIGS["composed"]["vision_cfg"] | {"timm_model_name": network}}
    files = tiny_bert_dir(tmp_path / "t")
    with torch.device("meta"):
        module = build_module(config, usual_preprocess("ViT-B-32"), files, 0, network)
    places = check_lora(SimpleNamespace(module=module, config=config, name=network))["image"]  # type: ignore[arg-type]
    assert all(any(name.endswith(f".{part}.weight") for name in places) for part in parts)
    assert not [name for name in places if ".se." in name or ".stem." in name]


MOBILE = {"MobileCLIP-S1": 88, "MobileCLIP-S2": 96, "RN50": 4}


@pytest.mark.parametrize(("name", "count"), MOBILE.items(), ids=MOBILE)
def test_mobileclips_mlps_are_adapted_and_a_resnets_bottlenecks_are_not(name: str, count: int) -> None:
    config = architecture_config(name)
    with torch.device("meta"):
        module = build_module(config, usual_preprocess(name), None, 0, name)
    places = check_lora(SimpleNamespace(module=module, config=config, name=name))["image"]  # type: ignore[arg-type]
    assert len(places) == count
    named = dict(module.named_parameters())
    left = [one for one, value in named.items() if ".mlp." in one and value.ndim > 1 and one not in places]
    assert all("visual" not in one or named[one].shape[2:] == (7, 7) for one in left)


def untold(model: ClipModel) -> ClipModel:
    """A network such as CaiT or PoolFormer, whose matcher names no blocks."""
    trunk: Any = model.module.get_submodule("visual.trunk")
    trunk.group_matcher = lambda coarse: {}  # noqa: ARG005 - timm passes it by name
    return model


def test_a_network_that_does_not_tell_its_blocks_is_refused_by_loras_own_name(tmp_path: Path) -> None:
    model = untold(tiny_model("siglip", folder=tmp_path))
    freeze(model, Freeze())
    with pytest.raises(InvalidSpec) as refused:
        check_lora(model)
    assert str(refused.value) == (
        "training.lora: the blocks of the image tower of tiny-siglip cannot be told apart, nor what of it is "
        "attention and MLP: set training.freeze.image.all: true, or leave lora out"
    )


def test_it_is_taken_once_it_is_frozen_but_for_its_projection(tmp_path: Path) -> None:
    model = untold(tiny_model("composed", folder=tmp_path))
    freeze(model, Freeze.model_validate({"image": {"all": True}}))
    assert add_lora(model, SPEC, seed=0).startswith("LoRA of rank 4 adapts 12 of the text tower's weights: ")
    head: nn.Parameter = model.module.get_parameter("visual.head.proj.weight")
    assert head.requires_grad
