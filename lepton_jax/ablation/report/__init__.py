"""An experiment's report: its page, pictures and live view."""
