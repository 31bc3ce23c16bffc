"""Pictures of what necks compute, and of what a detector found."""
