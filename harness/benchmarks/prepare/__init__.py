"""From raw downloads to packs: one file per benchmark, and the machinery that they share.

A benchmark's file (`brain.py`, `liver.py`, … as `recipe.Recipe` asks) is a pure mapping: which
raw files are which cases, which images a case gives, in which split each goes, and its pixels.
Nothing in it may depend on the order of a listing, of a set, on locale, hash seed, time or
threads. All else stands once: `raw.py` walks, `ranking.py` draws by salted hash, `running.py`
spreads the work over processes, `writing.py` writes whole images or none and knows what is done
already, `packing.py` makes the pack, `preparing.py` leads through it.
"""
