"""Drivers of testers of storage."""
