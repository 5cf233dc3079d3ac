"""Instruments offered to other programs under the protocols that those speak."""
