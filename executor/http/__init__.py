"""What both listeners share of HTTP: ASGI, and answers of our own making."""
