"""What a customer receives: values in, bytes out."""
