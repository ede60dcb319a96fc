"""Figures: what every invocation cost, as metrics, log lines, statistics, and the listener that shows all."""
