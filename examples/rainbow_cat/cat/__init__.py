"""The cat: how it looks, and how a picture of it is written for a terminal and for a browser."""
