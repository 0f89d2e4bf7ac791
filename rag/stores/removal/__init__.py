"""What leaves for good: purged, dropped, expired, left over."""
