"""The database itself: opened, migrated, written durably, its errors told."""
