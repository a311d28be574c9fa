"""The locking demo: many workers grab tasks at once, through a balancer, and none gets another's.

    demo.py ──► instances.py, balancer.py     the set that is asked: `writers serve` several times, behind nginx
                grabbing.py ──► client.py     many requests at once, and a look at what is locked meanwhile
                observing.py                  what is true of a run, checked from outside
                report.py                     what is printed

It sees what a client sees, and reads no table: a running set elsewhere (`--url`) is measured in the same way.
"""
