"""The site: static pages that are a pure function of rows, records and the paper's numbers."""
