"""Simulated training jobs: the log lines of real frameworks, written at known times."""
