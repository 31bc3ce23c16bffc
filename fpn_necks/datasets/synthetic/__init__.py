"""The synthetic tiny-person set: drawing of scenes and writing of files."""
