"""Values separated by commas, tabs and the like."""
