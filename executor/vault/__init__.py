"""The vault: encryption of the secret settings of hooks, and their masks."""
