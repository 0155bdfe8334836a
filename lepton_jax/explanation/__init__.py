"""Explanations of single answers: which parts of an input speak for a class, and whether an
explanation can be believed.
"""
