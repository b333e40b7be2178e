"""The embedded simulated endpoint: a pure core, and a server that the rest meets over HTTP only.

core     virtual seconds in and out, no I/O
physics  how long a step takes and how much fits; made into engines: presets, what_if
offline  many runs in virtual time, their tables and pictures
server   HTTP in real time: what comes in, what goes out

Each imports what stands above it and itself; server and offline do not know each other. The
contract in pyproject.toml holds them to it.
"""
