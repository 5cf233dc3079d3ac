"""Drivers of services that generate tokens."""
