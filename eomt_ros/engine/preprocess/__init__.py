"""A camera image to the network's input, and the way back."""
