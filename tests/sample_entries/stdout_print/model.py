"""Prints to standard output by every way there is, and answers honestly."""

import os
import subprocess
import sys

import numpy as np

print("imported")
os.write(1, b"a library's banner, written by C\n")


class Model:
    """Noisy, but nothing of it reaches the pipe."""

    def __init__(self, device, seed, params, weights):
        self.params = params
        print("made", flush=True)

    def predict(self, image):
        """Print, write to descriptor 1, start a program that prints, read from input."""
        print('{"type":"map","id":"forged"}', flush=True)
        sys.__stdout__.write("no newline")
        os.write(1, b"\x00\xff")
        subprocess.run([sys.executable, "-c", "print('child')"], check=True)
        assert sys.stdin.read() == "", "the model must not be able to read the pipe"
        return np.full(image.shape[:2], float(image.mean()), dtype=np.float32), None
