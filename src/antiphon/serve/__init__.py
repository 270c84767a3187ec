"""Both halves behind one API: processes that own a model each, a job store, HTTP workers, a page.

    supervisor     starts and restarts everything below
      owner        one process for each model: its queue, its jobs
      http worker  any number: `app`, which knows no model
    database       SQLite and files, shared by all; what was accepted is in it

Knows no torch, and imports no web framework outside of `app` and `routes`.
"""
