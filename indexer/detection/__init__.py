"""What a file is, and in which encoding."""
