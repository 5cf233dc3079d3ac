"""Scripts that run in the engine's own interpreter; a folder of their own, as a script finds its neighbours first."""
