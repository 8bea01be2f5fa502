"""Who writes each port, who reads it, on which device, and what else is needed of it."""
