"""The command line: what an operator types, and the local stack behind it."""
