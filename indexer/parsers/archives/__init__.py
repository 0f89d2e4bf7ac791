"""Archives, within limits; what they hold are documents of their own."""
