"""What somebody who is signed in sees and changes of the own account: profile, sessions, devices, trail, API keys."""
