"""The command line: each file parses a group of commands, calls one function for it, and prints.

Nothing heavy is imported at the top of these files: `antiphon --help` answers at once.
"""
