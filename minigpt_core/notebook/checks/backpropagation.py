"""Chapter 04: slopes as factors, backwards through a program."""
