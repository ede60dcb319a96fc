"""Configuration of a plugin, and its log format."""
