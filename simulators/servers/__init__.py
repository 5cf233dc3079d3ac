"""The wires that simulated instruments are served over."""
