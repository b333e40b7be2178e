"""Container: what a process in docker-compose.yml knows of where it is."""

# The name of its service; no option, since nobody but that file has use for it.
COMPOSE_SERVICE_VARIABLE = "TOKENSWARM_COMPOSE_SERVICE"
