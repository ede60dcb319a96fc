"""The layers of isolation that slots and workers apply to themselves, one module for each kind of means."""
