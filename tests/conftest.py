"""Here so that pytest puts this folder on the import path: tests of every part use `odd_files`."""

from antiphon import threads

threads.use_one()  # before numpy: two cores shared with a second BLAS thread are ten times slower
