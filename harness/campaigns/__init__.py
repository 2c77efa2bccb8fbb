"""Campaigns: a grid of runs, done by one command, killed and resumed at will.

grid      which runs: entries x benchmarks x seeds x settings, from options or a TOML file
costs     what a run will take, by earlier records
plan      what the results folder knows of each run, and what is left
slots     where runs go: one idle GPU each, or the cores of this machine
runner    the runs themselves, each a process of its own; faults told apart
report    the plan, the end and the exit code, in words
outcome   what came of it: counts that add up, settings chosen by validation, the paper's cells
"""
