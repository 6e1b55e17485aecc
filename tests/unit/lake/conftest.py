"""A lake of one's own."""

from tests.unit.delta.conftest import lake

__all__ = ["lake"]
