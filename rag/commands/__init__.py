"""The ``rag`` command's subcommands, one noun a module."""
