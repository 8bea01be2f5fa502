"""What grows with each token: sequences, and what is kept of them and of media."""
