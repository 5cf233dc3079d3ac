"""Drivers of processors that compute: this machine's own cores, and later accelerators beside them."""
