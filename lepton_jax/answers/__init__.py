"""Kinds of answer: what a task's outputs are, how two are compared, measured again and shown. One
file a kind.
"""
