"""Campaigns: a grid of runs, done by one command, killed and resumed at will.

grid      which runs: entries x benchmarks x seeds x settings, from options or a TOML file
costs     what a run will take, by earlier records
throughput                else by the table that ships: measured, or counted operations
plan      what the results folder knows of each run, and what is left
where     where runs happen: on this machine, or on a Ray cluster
slots     the places of this machine: one idle GPU each, or its cores
faults    how a run ends, whose fault that is, what is tried again
runner    all runs, each as often as its faults ask for
command   the call of `harness.evaluate` for one run
this_machine, on_ray      the two ways of running: as processes here, as tasks of a Ray cluster
nodes, fit, node          of a cluster: who can take a run, what a node checks, what it does
flights, arrivals         and a run there and back: asked for, listened to, stored or tried again
report    the plan, the end and the exit code, in words
outcome   what came of it: counts that add up, settings chosen by validation, the paper's cells
"""
