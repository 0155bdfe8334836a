"""The server's HTTP: the routes, the protocol, and what is refused."""
