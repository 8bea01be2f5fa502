"""The stages that make the decoder's input: token embeddings, and features among them."""
