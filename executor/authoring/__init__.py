"""What authors of plugins need: calling an endpoint without a server, serving with reload, beginning a new plugin."""
