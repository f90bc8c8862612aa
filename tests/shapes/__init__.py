"""Other projects to run the stories in: user models, settings, mount points, databases, Django's next series."""
