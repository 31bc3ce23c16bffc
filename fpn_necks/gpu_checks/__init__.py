"""All checks of all methods on one device, a CUDA GPU above all.

``tools/check_gpu.py`` is the command; ``docs/gpu.md`` says what each check asserts.
``planning.py`` lists them in order, ``working.py`` does them in a process of its own
and ``running.py`` watches that process. The same checks run on a processor.
"""
