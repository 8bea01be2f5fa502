"""The stages that give each token its position."""
