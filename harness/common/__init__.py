"""What every room may use: errors, statuses, declared text, who owns what lies on the machine."""
