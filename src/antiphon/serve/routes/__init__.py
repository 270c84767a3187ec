"""The API, one file per group of routes; what they do is `service`'s."""
