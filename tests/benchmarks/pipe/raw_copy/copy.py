"""Takes and gives bytes without frames: `N M S` on the first line, then N bytes in, M bytes out.

It sleeps S seconds before each answer.
"""

import os
import time

line = b""
while not line.endswith(b"\n"):
    line += os.read(0, 1)
taken, given = map(int, line.split()[:2])
seconds = float(line.split()[2])
image, answer = memoryview(bytearray(taken)), memoryview(bytearray(given))
while True:
    done = 0
    while done < taken:
        count = os.readv(0, [image[done:]])
        if not count:
            raise SystemExit
        done += count
    if seconds:
        time.sleep(seconds)
    done = 0
    while done < given:
        done += os.write(1, answer[done:])
