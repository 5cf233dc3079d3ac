"""Disks of one's own for the tests of storage."""

from tests.disks import disk, raw_disk, small_disk

__all__ = ["disk", "raw_disk", "small_disk"]
