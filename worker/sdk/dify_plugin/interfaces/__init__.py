"""Base classes for the parts of a plugin."""
