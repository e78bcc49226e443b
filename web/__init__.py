"""The face for other programs: events come in by HTTP."""
