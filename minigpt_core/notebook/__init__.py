"""What only the notebooks need: figures, and the few helpers of a lesson."""
