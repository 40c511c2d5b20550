"""The demo: a polecat repairs a small project on a real cluster, and the proof is read from the git server.

`__main__` prepares the machine; `inside` is what then runs in the cluster's network. Standard library only, so that it
runs on a bare Python 3.11.
"""
