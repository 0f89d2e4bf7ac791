"""PDF: from the characters of a page to lines, columns, tables and headings."""
