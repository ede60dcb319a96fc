"""Calls back to Dify, none of which can be made yet."""
