"""Campaigns: a grid of runs, done by one command, killed and resumed at will.

costs         what a run will take, by earlier records
throughput    else by the table that ships: measured, or counted operations
offer         what a machine or a cluster has to run on
plan          what the results folder knows of each run, and what is left
slots         the places of this machine: one idle GPU each, or its cores
faults        how a run ends, whose fault that is, what is tried again
runner        all runs, each as often as its faults ask for
command       the call of `harness.evaluate` for one run
host          who does the runs: this_machine (processes here) or ray/ (tasks of a cluster)
report        the plan, the end and the exit code, in words
outcome       what came of it: the paper's cells that were reproduced

Which runs (entries x benchmarks x seeds x settings) is said by `harness.entries.campaign_grid`,
and which settings validation chose by `harness.board.setting_choice`.
"""
