"""The parts that a cluster is made of, one noun a file."""
