"""Real ledgers, replayed day by day: what was sent is compared with what the dates alone say."""
