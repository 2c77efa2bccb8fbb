"""Campaigns on a Ray cluster: placed by Ray, checked by each node, stored here.

cluster       the cluster that a campaign is connected to, and what it offers
nodes         which nodes can take a run, which never, which no more
tasks         the Ray tasks
node          what a node does: asks its harness whether a run fits, runs it, hands back the files
node_check    what the node's harness checks before a run, and names when it differs
runner        a run there and back: asked for in order, listened to, tried elsewhere when lost
arrivals      what came back, checked and stored whole, or not at all
"""
