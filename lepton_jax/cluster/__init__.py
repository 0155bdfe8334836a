"""Several processes of one run: how they meet, agree, watch each other and stop. No arrays."""
