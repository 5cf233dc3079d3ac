"""IEEE 488.2 and SCPI-99, client side."""
