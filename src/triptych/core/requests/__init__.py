"""What callers ask for and get: options, batches, streams and conversations."""
