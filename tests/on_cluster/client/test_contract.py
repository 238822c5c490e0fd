"""The client keeps its contract on a real API server, as the fake does."""

from tests.support.client_contract import ClientContract


class TestRealApiServer(ClientContract):
    """Fixtures are those of conftest.py."""
