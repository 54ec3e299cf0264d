"""What the interpreter that runs this is good for: whether environments can be made with it, and how it was built.

Rules of this file: the standard library alone, in words that any Python 3 reads, since interpreters run it of which
nothing is known yet. A node takes less processor time on a build with profile-guided optimization (PGO): see
docs/performance.md.
"""

import importlib.util
import sys
import sysconfig

SUPPORTED = ((3, 11), (3, 12), (3, 13))


def has_pgo() -> bool:
    """Whether it was built with profile-guided optimization."""
    is_asked_for = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    # Debian and Ubuntu build with `make profile-opt`, and then take the flags of it out of what sysconfig says
    # (debian/rules of their python3.x, sysconfig_substflags). Other builds leave the compiler's flags there.
    return is_asked_for or sysconfig.get_config_var("PGO_PROF_USE_FLAG") == ""


if __name__ == "__main__":
    if sys.version_info[:2] not in SUPPORTED or not all(map(importlib.util.find_spec, ("ensurepip", "venv"))):
        sys.exit(1)
    print(int(has_pgo()), sys.version_info[1])  # for best_python.sh to sort
