"""A run's file on a disk: where its paths lead, and which file is read."""

from pathlib import Path

import pytest

from finetune_sdk.errors import UsageError
from finetune_sdk.runfile import load_run
from finetune_sdk.uri import uri_to_path
from tests.support.specs import DATA
from tests.unit.test_runfile import GOOD, HEAD, OUTPUT, SOURCE, parse

PATHS = {
    "relative to the file": ("pictures/a.csv", "file:///srv/my%20run/pictures/a.csv"),
    "up": ("../b.csv", "file:///srv/b.csv"),
    "up beyond the root": ("../../../../b.csv", "file:///b.csv"),
    "here": ("./", "file:///srv/my%20run"),
    "home": ("~/data", "file:///home/me/data"),
    "a name that begins with a tilde": ("~data", "file:///srv/my%20run/~data"),
    "absolute": ("/data/ü #1 50%.csv", "file:///data/%C3%BC%20%231%2050%25.csv"),
    "braces": ("s-{00..03}.tar", "file:///srv/my%20run/s-{00..03}.tar"),
    "a URI is left alone": ("s3://bucket/a b", "s3://bucket/a b"),
    "a file URI too": ("file:///x/%23", "file:///x/%23"),
}


@pytest.mark.parametrize(("text", "uri"), PATHS.values(), ids=PATHS)
def test_where_a_path_leads(text: str, uri: str) -> None:
    source = parse(GOOD.replace("uri: pictures", f"uri: '{text}', images: '{text}'")).spec.data.source
    assert source is not None
    assert (source.uri, source.images) == (uri, uri)


def test_every_uri_of_the_spec_is_resolved() -> None:
    towers = "  model: {towers: {image: {timm: a, uri: w/i}, text: {huggingface: b, uri: w/t}}}\n"
    data = "  data: {train: {uri: a}, validation: {uri: v}, test: {uri: t}}\n"
    spec = parse(HEAD + towers + data + OUTPUT).spec
    assert spec.model.towers is not None
    assert spec.model.towers.image.uri == "file:///srv/my%20run/w/i"
    assert spec.model.towers.text.uri == "file:///srv/my%20run/w/t"
    sources = [spec.data.train, spec.data.validation, spec.data.test]
    assert [source.uri[-2:] for source in sources if source] == ["/a", "/v", "/t"]
    weights = parse(HEAD + "  model: {weights: {uri: m}}\n" + SOURCE + OUTPUT).spec.model.weights
    assert weights is not None
    assert weights.uri == "file:///srv/my%20run/m"


def test_a_file_is_loaded_from_its_own_folder(tmp_path: Path) -> None:
    folder = tmp_path / "50% ü#"
    folder.mkdir()
    (folder / "run.yaml").write_text(GOOD)
    assert uri_to_path(load_run(folder / "run.yaml").spec.output.uri) == folder / "out"


def test_the_committed_sample_is_read() -> None:
    assert load_run(DATA / "minimal.yaml").metadata.name == "tiny"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"run\.yaml does not exist: give the run's file with -f"):
        load_run(tmp_path / "run.yaml")
    with pytest.raises(UsageError, match="cannot be read"):
        load_run(tmp_path)
