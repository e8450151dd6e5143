"""How a peer is timed: every input line is a number of runs, every output line says how long each of them took.

    4
    {"seconds": [0.61, 0.6, 0.62, 0.6], "cpu": [1.19, 1.2, 1.19, 1.19], "peak_mib": 612.4}

A run that does its work several `times` counts as one of them. `cpu` is processor time of all threads of the process, which other programs disturb less than wall time; `peak_mib` is the
largest resident memory of the process so far.
"""
import json
import re
import sys
import time


def peak_mib():
    with open('/proc/self/status') as f:
        return round(int(re.search(r'VmHWM:\s+(\d+)', f.read()).group(1)) / 1024, 1)


def serve(once, times=1):
    for line in sys.stdin:
        seconds, cpu = [], []
        for _ in range(int(line)):
            wall, process = time.perf_counter(), time.process_time()
            once()
            seconds.append((time.perf_counter() - wall) / times)
            cpu.append((time.process_time() - process) / times)
        print(json.dumps({'seconds': seconds, 'cpu': cpu, 'peak_mib': peak_mib()}), flush=True)
