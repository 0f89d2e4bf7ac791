"""Documents of office programs: OOXML, OpenDocument, Rich Text, and the binary formats before them."""
