"""Processes and invocations: zygotes, workers, the pool, admission, and one invocation from start to end."""
