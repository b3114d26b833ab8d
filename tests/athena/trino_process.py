"""Trino's process: `python -m tests.athena.trino_process LIBJVM CLASSES VERSION OPTION...`.

Trino's jars have no main class, and the runtime has no compiler. So JPype loads the JVM into this Python process and
calls the server's own start. TERM ends the JVM and with it this process.
"""

from __future__ import annotations

import sys
import threading

import jpype

if __name__ == "__main__":
    library, classes, version, *options = sys.argv[1:]
    jpype.startJVM(library, *options, classpath=[classes])
    jpype.JClass("io.trino.server.Server")().start(version)
    threading.Event().wait()
