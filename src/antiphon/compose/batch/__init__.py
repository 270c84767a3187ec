"""A file of prompts, composed row by row: read, kept account of, resumed."""
