#!/bin/bash
# A run on several nodes of a Slurm cluster, which may be preempted and then continues:
#   sbatch --nodes 2 hfseg/config/accelerate/slurm.sh --config voc-segformer-b2 --output_dir DIR
# The flags are those of `hfseg finetune`; --output_dir is on a disk that all nodes see, and
# --global_batch_size keeps the training the same on another number of GPUs.
#SBATCH --job-name=hfseg
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -u

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export HFSEG_PROCESSES=$((${SLURM_GPUS_ON_NODE:-1} * SLURM_NNODES))
export HFSEG_HEAD=$head HFSEG_PORT=$((29500 + SLURM_JOB_ID % 1000))

# `exec`, so that a signal to the step reaches the launcher
srun --kill-on-bad-exit=1 bash -c '
  if [ "$HFSEG_PROCESSES" -gt 1 ]; then
    set -- --num_processes "$HFSEG_PROCESSES" --num_machines "$SLURM_NNODES" \
      --machine_rank "$SLURM_NODEID" --main_process_ip "$HFSEG_HEAD" \
      --main_process_port "$HFSEG_PORT" --rdzv_backend static --dynamo_backend no "$@"
  fi
  exec hfseg finetune --resume_from_checkpoint true "$@"
' hfseg "$@"
code=$?

# 143: stopped by SIGTERM before the time limit, with a checkpoint
[ "$code" -eq 143 ] && scontrol requeue "$SLURM_JOB_ID"
exit "$code"
