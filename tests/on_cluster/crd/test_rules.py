"""Each rule of the CRD, by a document that it lets pass and one that it refuses in its own words."""

import pytest

from tests.on_cluster.crd.server import Server
from tests.support.crd_rows import Row, rows


@pytest.mark.parametrize("row", rows(), ids=str)
def test_a_rule(server: Server, row: Row) -> None:
    passed, refused = server.create(row.accepted), server.create(row.refused)
    assert passed.accepted, passed.body
    assert not refused.accepted
    told = [field for field, message in refused.causes if row.message in message]
    assert len(told) == 1, refused.causes
    assert told[0].startswith(row.place.replace(".*", "[")), "the sentence names the place"
