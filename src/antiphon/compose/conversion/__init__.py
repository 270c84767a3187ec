"""A checkpoint in another layout, format or precision, each checked against its source."""
