"""The steps by which the tables came to be what they are, one module each; read by Alembic as files.

A step is never changed once it has been released; a new one is added, and `HEAD` in `schema` names it.
"""
