"""What the graphs of several families are built from."""
