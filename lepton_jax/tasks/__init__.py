"""Tasks: how a batch becomes a loss, metrics and predictions. One file a task; the contract is
`task.py`.
"""
