"""A gate: conditions that a version must meet, with what each of them looks at."""
