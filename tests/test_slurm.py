"""`slurm.sh` on a real Slurm: a job that is preempted, requeued and finished ends with the weights
of one that was left alone.

Controller, node and munge run here for as long as the test does, with two GPUs that are only names:
the processes compute on the CPU. Needs root, and `apt-get install slurm-wlm munge` of Debian.
"""

import hashlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from launch import BIN, REPOSITORY, environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or None in map(shutil.which, ("slurmctld", "slurmd", "munged")),
        reason="needs root and the packages slurm-wlm and munge",
    ),
]
SCRIPT = REPOSITORY / "hfseg" / "config" / "accelerate" / "slurm.sh"
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
AuthInfo=socket={home}/munge.socket,cred_expire=30
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd.pid
SlurmctldLogFile={home}/slurmctld.log
SlurmdLogFile={home}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
NodeName=localhost NodeHostname={host} NodeAddr=127.0.0.1 CPUs=2 Gres=gpu:2
PartitionName=low Nodes=ALL PriorityTier=1 GraceTime=1200 Default=YES
PartitionName=high Nodes=ALL PriorityTier=2
"""
DEVICES = "Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n"


def slurm_run(*words: object) -> str:
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def until(condition: Callable[[], object], seconds: float = 3600) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it didn't happen"
        time.sleep(0.5)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cluster of one node, with a partition whose jobs preempt those of the other."""
    home = tmp_path / "slurm"
    (home / "state").mkdir(parents=True)
    (home / "spool").mkdir()
    ports = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as free:
            ports.append(free.getsockname()[1])
    host = socket.gethostname().partition(".")[0]
    (home / "slurm.conf").write_text(
        CONFIGURATION.format(home=home, host=host, controller=ports[0], node=ports[1])
    )
    (home / "gres.conf").write_text(DEVICES)
    (home / "munge.key").write_bytes(os.urandom(1024))
    (home / "munge.key").chmod(0o600)
    monkeypatch.setenv("SLURM_CONF", str(home / "slurm.conf"))
    monkeypatch.setenv("PATH", str(BIN), prepend=os.pathsep)
    munge = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log",
             "seed-file": "seed"}  # fmt: skip
    commands = (
        ["munged", "--foreground", "--force"]
        + [f"--{flag}={home}/munge.{suffix}" for flag, suffix in munge.items()],
        ["slurmctld", "-D"],
        ["slurmd", "-D", "-N", "localhost"],
    )
    running = []
    with (home / "printed.log").open("w") as log:
        for command in commands:
            running.append(subprocess.Popen(command, stdout=log, stderr=log))
            if command[0] == "munged":
                until((home / "munge.socket").exists, 60)
    try:
        until(lambda: "idle" in subprocess.getoutput("sinfo --noheader --format=%t"), 60)
        yield
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait(timeout=60)


def submit(log: Path, *words: object) -> str:
    """Its number."""
    flags = ("--parsable", "--cpus-per-task=2", "--output", log)
    return slurm_run("sbatch", *flags, *words)


def is_in_state(job: str, state: str) -> bool:
    found = slurm_run("scontrol", "show", "job", job)
    assert "JobState=FAILED" not in found, found
    return f"JobState={state} " in found


def test_a_preempted_job_continues_and_ends_with_the_same_weights(
    slurm: None, tmp_path: Path
) -> None:
    def start(name: str) -> str:
        return submit(
            tmp_path / f"{name}.log", "--partition=low", "--gpus-per-node=2", SCRIPT,
            "--dataset_name", "toyscapes", "--max_train_samples", "20", "--max_eval_samples", "4",
            "--model_name_or_path", "segformer-tiny", "--from_scratch", "--crop_size", "64",
            "--global_batch_size", "4", "--num_train_epochs", "6", "--eval_strategy", "no",
            "--dataloader_num_workers", "1", "--mixed_precision", "no", "--logging_steps", "1",
            "--output_dir", tmp_path / name,
        )  # fmt: skip

    alone = start("alone")
    until(lambda: is_in_state(alone, "COMPLETED"))
    preempted, log = start("preempted"), tmp_path / "preempted.log"
    until(lambda: log.exists() and "  loss " in log.read_text())
    other = submit(tmp_path / "other.log", "--partition=high", "--wrap", "sleep 1")
    until(lambda: is_in_state(other, "COMPLETED"))
    until(lambda: is_in_state(preempted, "COMPLETED"))

    printed = log.read_text()
    assert printed.count("stopped by SIGTERM, saved as") == 1
    assert printed.index("stopped by SIGTERM") < printed.index("resuming from")
    assert "Restarts=1 " in slurm_run("scontrol", "show", "job", preempted)
    weights = [tmp_path / name / "model.safetensors" for name in ("alone", "preempted")]
    ours, theirs = (hashlib.sha256(file.read_bytes()).hexdigest() for file in weights)
    assert ours == theirs
