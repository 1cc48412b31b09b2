"""The command line: the only place where files, processes and engines meet the pure core."""
