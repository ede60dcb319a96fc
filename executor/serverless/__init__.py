"""Dify's serverless runtime interface: a Dify daemon installs and calls endpoint plugins here."""
