"""WHAT happened and what it adds up to. Pure: no gevent, no sockets, no files but the ledger's."""
