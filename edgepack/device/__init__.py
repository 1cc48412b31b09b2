"""The same bundle on a real device: how it gets there, what comes back, what that proves."""
