"""The command line: the only place where doors meet core."""
