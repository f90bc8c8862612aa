"""Sign-in, sessions, approval by e-mailed code and the shields around them, as one Django app."""

__version__ = "0.1.0"
