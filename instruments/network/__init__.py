"""Drivers of testers of data networks."""
