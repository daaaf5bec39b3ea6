"""Deploying: the code and its settings go to a platform under names made of their content, and the jobs are started."""
