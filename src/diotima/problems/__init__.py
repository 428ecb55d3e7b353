"""What is taught: problems with steps, skills and siblings, and how they are read from files.

A problem is a plain value; everything that knows how to make one stands in a module of its own.
"""
