"""The same engine as the rules' own tests."""

from tests.reco_rules.conftest import engine

__all__ = ["engine"]
