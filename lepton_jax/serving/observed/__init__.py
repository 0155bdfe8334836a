"""What can be seen of a server from outside: metrics, logs, traces, and observers of answers."""
