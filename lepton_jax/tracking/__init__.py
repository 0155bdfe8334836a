"""The record of a run: what its workdir holds, who owns it, and the views of it.

Imports: of this package, `errors` and `config` only. Knows nothing of training, models or data.
"""
