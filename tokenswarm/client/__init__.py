"""HOW one turn is sent and stamped. Sans-I/O parsing, one module of sockets (`connection`)."""
