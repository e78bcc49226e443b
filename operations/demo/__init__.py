"""The demo: a made-up company, from a seed, kept by the operations that everybody uses."""
