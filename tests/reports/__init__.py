"""Tests of reports: what people read."""
