"""The terminal face: it parses and prints."""
