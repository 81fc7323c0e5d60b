"""The simulator: the decision core in a virtual world."""
