#!/usr/bin/env bash
# A study as a Slurm job array. Each task works on its own part and its own file; parts that were stopped (time limit,
# node failure, scancel) go on where they were when the array is submitted again.
#
#     MODEL=model.gguf OUT=$HOME/study sbatch samples/jobs/slurm-array.sh
#     samples/jobs/merge.sh $HOME/study            when the array has ended
#
#SBATCH --job-name=saccade
#SBATCH --array=1-16
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@60
set -euo pipefail
: "${OUT:?set OUT to a folder for the results}"
mkdir -p "$OUT"
# TERM comes a minute before the limit: the sample at work is given up, what is done stays.
exec "${SACCADE:-saccade}" eval ${MODEL:+"$MODEL"} \
    --task "${TASKS:-niah,story_retrieval,story_multihop,story_filtering,cwe,vt}" \
    --length "${LENGTHS:-4096,8192,16384}" --samples "${SAMPLES:-100}" \
    --method vertical_slash --method quest --method snapkv --sparsity "${SPARSITIES:-0.5,0.8,0.9,0.95}" \
    --threads "${SLURM_CPUS_PER_TASK:-8}" \
    --shard "${SLURM_ARRAY_TASK_ID:?start this with sbatch}/${SLURM_ARRAY_TASK_COUNT:?}" \
    --output "$OUT/part-$SLURM_ARRAY_TASK_ID.jsonl"
