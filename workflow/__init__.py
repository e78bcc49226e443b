"""The decisions, from values alone: no input or output, no clock, no log."""
