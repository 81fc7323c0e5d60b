"""How km shows itself: metrics, health, a page, and the same in the terminal."""
