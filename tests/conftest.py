"""Here so that pytest puts this folder on the import path: tests of every part use `odd_files`."""
