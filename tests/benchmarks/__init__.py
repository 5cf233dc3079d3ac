"""Speed against peers: run by `make benchmark`, not by the test suite."""
