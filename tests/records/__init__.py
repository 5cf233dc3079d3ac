"""Tests of records: what is kept when everything else goes wrong."""
