"""What each runtime and delegate can run, and what to do where it cannot."""
