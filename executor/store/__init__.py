"""The store: installed plugins, hooks and plugin storage, in SQLite or PostgreSQL."""
