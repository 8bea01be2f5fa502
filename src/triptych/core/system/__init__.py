"""What the machine and its files offer: memory, processors, folders, whole files."""
