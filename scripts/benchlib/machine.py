"""What was measured on: goes into the head of each run."""
import os, platform, subprocess, time


def _field(path, name):
    try:
        with open(path) as f:
            for line in f:
                if line.startswith(name):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return "unknown"


def _output(*argv, cwd=None):
    try:
        return subprocess.run(argv, cwd=cwd, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def describe(folder, project):
    """`folder` is where repositories and corpora are: its file system counts.

    The commit is that of the project, so it says nothing of a binary that ICECORE names.
    """
    named = os.environ.get("ICECORE")
    memory = _field("/proc/meminfo", "MemTotal").split()
    return {
        "date": time.strftime("%F", time.gmtime()),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": _field("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(int(memory[0]) * 1024 / 1e9, 1) if memory[0].isdigit() else None,
        "file_system": _output("stat", "-f", "-c", "%T", folder),
        "icecore": named or "commit " + (_output("git", "describe", "--always", "--dirty", cwd=project) or "unknown"),
        "load_before": os.getloadavg()[0],
    }
