"""Running the stages over sequences: inputs, slices, steps, and the loop that drives them."""
