#!/bin/bash
# Submits a fault-injection campaign to Slurm as three jobs: one that compiles, an array with a task for each shard, and one
# that merges the shards. `campaign.sbatch` says what each of them does.
set -euo pipefail

usage() {
    cat >&2 <<'END'
usage: xtask/slurm/submit.sh SHARDS DIR [OPTION of cargo xtask inject]... [-- OPTION of sbatch...]

  SHARDS  how many; 32%8 are 32, of which 8 run at the same time
  DIR     folder for the shards, their output (DIR/log), and in the end the campaign as if in one go (DIR/whole).
          All nodes must see it, and the project's folder, under the same path.

The same line again goes on with a campaign that was broken off. An example:

  xtask/slurm/submit.sh 32%8 target/curios/inject/baselines --baselines --count 10000 -- --cpus-per-task=8 --time=4:00:00
END
    exit 2
}

fail() {
    echo "submit.sh: $*" >&2
    exit 2
}

[ $# -ge 2 ] || usage
[[ $1 =~ ^([1-9][0-9]{0,8})(%[1-9][0-9]*)?$ ]] || fail "SHARDS is a number from 1, such as 32 or 32%8, not \"$1\""
of=${BASH_REMATCH[1]} at_once=${BASH_REMATCH[2]}
folder=$2
shift 2
[[ $folder != -* ]] || usage

campaign=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    case $1 in
        --shard | --shard=* | --out | --out=* | --resume | --resume=*)
            fail "${1%%=*} is decided here: by SHARDS and DIR" ;;
        --jobs | --jobs=*)
            fail "a task carries out as many experiments at the same time as it has processors: -- --cpus-per-task=N" ;;
        -*) ;;
        *) [ ${#campaign[@]} -gt 0 ] || fail "\"$1\" is no option of a campaign" ;;
    esac
    campaign+=("$1")
    shift
done
[ $# -eq 0 ] || shift
command -v sbatch >/dev/null || fail "there is no sbatch here: Debian has it in slurm-client"

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
folder=$(realpath -m -- "$folder")
if [[ $folder/ == "$root"/* ]] && git -C "$root" rev-parse 2>/dev/null && ! git -C "$root" check-ignore -q "$folder/log"; then
    fail "in $folder, results would count as changes of the project: choose a DIR in target/, or elsewhere"
fi
[ ! -e "$folder/whole" ] || fail "$folder/whole is there already: nothing is left to do. Another campaign wants another DIR"
for other in "$folder"/shard-*-of-*; do
    [ ! -e "$other" ] || [ "${other##*-of-}" = "$of" ] \
        || fail "the campaign in $folder was begun with ${other##*-of-} shards: go on with as many, or choose another DIR"
done
mkdir -p "$folder/log" || fail "cannot create $folder/log"

submitted=()
withdraw() {
    [ ${#submitted[@]} -eq 0 ] || scancel "${submitted[@]}"
    fail "not submitted"
}

# What the caller wants of sbatch comes last, and so holds where it contradicts.
wanted=("$@")
# Submits a step; its job's number is then the last of `submitted`.
submit() {
    local step=$1 output=$2 job
    shift 2
    job=$(sbatch --parsable --chdir="$root" --job-name="inject-$step" --output="${folder//%/%%}/log/$step-$output.log" \
        --kill-on-invalid-dep=yes "$@" "${wanted[@]}" \
        "$root/xtask/slurm/campaign.sbatch" "$step" "$folder" "$of" "${campaign[@]}") || withdraw
    submitted+=("${job%%;*}")
}

submit build %j
# Two minutes before its time is over, a task is told.
submit shard %A_%a --array="1-$of$at_once" --dependency="afterok:${submitted[0]}" --signal=B:USR1@120
# After shards that failed, too: it then says what is missing.
submit merge %j --dependency="afterok:${submitted[0]},afterany:${submitted[1]}"
echo "jobs ${submitted[0]} (build), ${submitted[1]} ($of shards), ${submitted[2]} (merge); output in $folder/log"
