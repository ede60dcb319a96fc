"""What keeps workers apart from the host and from each other: layers, control groups, what the host can do."""
