"""Judging models: asked for, played, heard."""
