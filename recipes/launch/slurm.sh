#!/bin/bash
# Not run. Needs Slurm, machines with GPUs, diotima in the environment, and one file system that all share for --out.
#   sbatch --nodes 2 --gpus-per-node 8 recipes/launch/slurm.sh recipes/launch/nodes.yaml \
#       train grpo --recipe my-grpo.yaml --out runs/grpo
# Submitted again with the same words after a time limit, a training goes on from its last whole checkpoint.
#SBATCH --job-name=diotima
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=24:00:00
set -euo pipefail
config=$1
shift
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)
export ACCELERATE_CONFIG="$config" FIRST="$first" PROCESSES=$((SLURM_NNODES * SLURM_GPUS_ON_NODE))
# One launcher a machine; it starts one process a GPU. Single quotes: each machine fills in its own number.
# Since Slurm 22.05 srun does not take over --cpus-per-task, and all processes of a machine would share one core.
srun --kill-on-bad-exit=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" bash -c 'exec accelerate launch --config_file "$ACCELERATE_CONFIG" \
    --num_machines "$SLURM_NNODES" --num_processes "$PROCESSES" --machine_rank "$SLURM_NODEID" \
    --main_process_ip "$FIRST" --main_process_port 29500 -m diotima "$@"' diotima "$@"
