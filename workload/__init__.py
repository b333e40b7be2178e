"""WHAT a coding developer sends. Pure and seeded: numpy; no gevent, no Locust, no sockets."""
