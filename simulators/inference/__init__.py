"""Simulated inference services: OpenAI-compatible servers whose every token has a known time."""
