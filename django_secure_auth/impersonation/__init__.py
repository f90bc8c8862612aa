"""Staff sign in as a user, to see what the user sees: with a reason, for a while, and not for what is dangerous."""
