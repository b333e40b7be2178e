"""The embedded simulated endpoint. Its core is pure and imports nothing of ours; the rest meets it over HTTP."""
