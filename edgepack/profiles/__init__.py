"""What a device is: its profile, the catalogue of them, and how one is written."""
