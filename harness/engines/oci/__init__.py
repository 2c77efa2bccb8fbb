"""Images that others made, before any engine unpacks them: archives, tar headers, configurations."""
