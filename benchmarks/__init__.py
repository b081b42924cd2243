"""What the service costs, in ratios to a bare handler on the same machine in the same minute.

Nothing shipped imports this. How to run it and how to read it: README.md beside this file.
"""
