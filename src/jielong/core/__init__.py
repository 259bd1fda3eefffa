"""What every layer shares: errors, settings, files, progress."""
