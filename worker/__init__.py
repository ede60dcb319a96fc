"""The far side of the pipe: zygotes, and the single-use workers that are forked from them.

`python -I -m worker FD` is the base zygote; FD is its end of a control socket (`protocol.control`). Everything here
is imported once, before the first fork, and then hidden (`worker.hiding`), so no function of this package imports
another module of it, or of `protocol`, when it is called.
"""
