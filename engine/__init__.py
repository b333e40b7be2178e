"""The embedded simulated endpoint: a pure core, and a server that the rest meets over HTTP only."""
