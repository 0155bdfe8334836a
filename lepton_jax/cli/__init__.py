"""The command line: from words to a call of a command, and from its result to what is printed.

Knows no command: it is handed a table of names and a function that finds one by its name.
"""
