"""Packages of plugins (`.difypkg`): reading and packing them, signatures, and the folders of installed plugins."""
