"""HTTP: from a request on a socket to an invocation, and from its outcome to an answer."""
