"""What moves: settings, broker, scheduler, relay and sweep, actors, the mail channel, reports."""
