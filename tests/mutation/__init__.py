"""A check of the tests themselves: every small change to a rule must make one of them fail."""
