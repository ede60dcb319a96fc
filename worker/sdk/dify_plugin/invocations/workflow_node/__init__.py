"""Calls of single nodes of workflows."""
