"""Environments of plugins: what their workers import from, besides the plugin itself."""
