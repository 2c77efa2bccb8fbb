"""One run: its request, its model, its sessions, its record."""
