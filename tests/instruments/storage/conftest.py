"""Disks of one's own for the tests of storage."""

from tests.disks import disk, small_disk

__all__ = ["disk", "small_disk"]
