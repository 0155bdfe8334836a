"""Has the world moved? What a bundle's held-out examples looked like, against what is asked now.

This folder needs numpy, and safetensors where a bundle's reference is read.
"""
