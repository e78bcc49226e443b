"""All SQL: one function a question, one frozen row an answer. A connection is an argument."""
