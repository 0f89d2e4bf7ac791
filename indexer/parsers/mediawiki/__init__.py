"""MediaWiki's markup."""
