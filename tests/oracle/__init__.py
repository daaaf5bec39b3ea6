"""The contract's sections 2, 5 and 6 again, in plain Python without Spark: what the jobs are held against.

Written from the contract alone. Slow and literal on purpose: where this and the jobs disagree, read the contract.
"""
