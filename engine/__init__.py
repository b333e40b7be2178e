"""The embedded simulated endpoint: a pure core, and a server that the rest meets over HTTP only.

core     virtual seconds in and out, no I/O: `core` (Engine), sequence, scheduler, kv_cache,
         host_tier, speculation, cost
physics  how long a step takes and how much fits: models, hardware, kv_pool, fit, fitted, roofline;
         made into engines: presets, what_if
offline  many runs in virtual time: traffic, offline, sweep, estimate, study, change; for people:
         tables, picture, commands
server   HTTP in real time: server, protocol, live, clock; what comes in: chat_request,
         prompt_tokens; what goes out: chat, reply_text, errors, metrics, histogram

Each imports what stands above it and itself; server and offline do not know each other.
"""
