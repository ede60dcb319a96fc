"""What a plugin declares: reading and checking its files, its settings, its routes."""
