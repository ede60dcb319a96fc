"""Configuration: the model with its defaults and ranges, reading a file, overriding it, explaining it."""
