"""Electronic invoices from outside: Factur-X and ZUGFeRD 2 in PDFs, CII and UBL in XML."""
