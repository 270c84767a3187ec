"""Training: the modules that are trained, in torch."""
