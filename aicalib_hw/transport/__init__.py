"""The ways to an instrument; nothing above this package knows a wire."""
