"""A served node for the tests of this directory, reached without a server."""

from __future__ import annotations

import pytest
from quart_trio.testing import TrioClient as Client

from camomile_trio.http.app import RestService, make_app
from camomile_trio.http.settings import HttpSettings
from tests.http.fake_node import FakeNode, client_for


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
def app(node: FakeNode) -> RestService:
    return make_app(node, HttpSettings())


@pytest.fixture
def client(app: RestService) -> Client:
    return client_for(app)
