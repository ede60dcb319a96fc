"""Calls of apps."""
