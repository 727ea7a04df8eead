"""The command line: arguments in, library calls, tables out; no logic of its own."""
