"""Simulated accelerators: devices of the world's node, reached through the simulated vendor libraries."""
