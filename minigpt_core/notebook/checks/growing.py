"""Chapter 16: large batches, short numbers, many processes, laws."""
