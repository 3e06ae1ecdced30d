"""Auto Scaling groups: what moto keeps and does not do."""

from .group import Group

__all__ = ["Group"]
