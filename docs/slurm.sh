#!/bin/bash
# Trains under SLURM until it is done, over as many time limits as that takes:
#
#     sbatch docs/slurm.sh RUN pretrain RECIPE --data DATA
#
# RUN is the run directory; what follows is a command line of vidssl without --out and --resume.
# docs/slurm.md tells how it works. Adapt these lines to the machine:
#
#SBATCH --job-name=vidssl
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=vidssl-%j.log

set -u
run=$1
shift

trap 'exit 143' TERM  # scancel: whoever cancels does not want it back in the queue

version() { stat --format='%i %y' "$run/run.json" 2>/dev/null; }

before=$(version)
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((SLURM_NNODES > 1 ? 20000 + SLURM_JOB_ID % 20000 : 0))  # on one node any that is free

srun torchrun \
    --nnodes "$SLURM_NNODES" --nproc-per-node "${SLURM_GPUS_ON_NODE:-1}" \
    --rdzv-backend c10d --rdzv-id "$SLURM_JOB_ID" --rdzv-endpoint "$head:$port" \
    --signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1 \
    -m vidssl_cli "$@" --out "$run" --resume
status=$?

# torchrun makes 1 of the 75 of a run that was preempted, and of everything else: run.json tells
# them apart, if it is not what an earlier job left there.
if [ "$status" -ne 0 ] && [ "$(version)" != "$before" ] &&
    grep --quiet '"state": "preempted"' "$run/run.json"; then
    echo "$run was preempted; job $SLURM_JOB_ID goes back into the queue"
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
fi
exit "$status"
