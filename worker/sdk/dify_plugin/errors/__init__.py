"""Exceptions that models and tools raise."""
