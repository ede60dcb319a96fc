"""Endpoints of the rehearsal."""
