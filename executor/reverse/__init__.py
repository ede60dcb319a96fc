"""Reverse calls: what an endpoint asks of Dify through its session, and who answers."""
