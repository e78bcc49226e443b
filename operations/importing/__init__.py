"""What a CSV file says becomes customers, contacts, invoices, payments and tags: guessed, shown, then done at once."""
