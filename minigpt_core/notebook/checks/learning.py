"""Chapter 03: softmax, gradients, steps."""
