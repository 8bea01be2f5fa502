"""Where work is done: in this process, or by the actors of a Ray cluster."""
