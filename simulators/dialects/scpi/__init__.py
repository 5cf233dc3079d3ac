"""IEEE 488.2 and SCPI-99 on the device side: grammar, status, message exchange."""
