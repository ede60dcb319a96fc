"""What is installed: versions of plugins, and hooks, in the store: how commands change them, how they are served."""
