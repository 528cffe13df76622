#!/usr/bin/env bash
# Trains the cloud model for MINUTES and then the edge model for half as long, evaluates both, and leaves
# edge.safetensors, cloud-*.safetensors (f16 state dicts), metrics.json, metrics.md and a train.log each in OUTDIR.
# Needs one GPU, about 16 cores and no network. With 13 minutes: 22 in all on one H200.
#   bash models/training/run.sh OUTDIR MINUTES [train.py options, e.g. --compile]
# After a cut, the same command again goes on where the last checkpoint was.
set -euo pipefail
out=$(mkdir -p "$1" && cd "$1" && pwd); minutes=$2; shift 2
cd "$(dirname "$0")"
export OMP_NUM_THREADS=2 TORCHINDUCTOR_CACHE_DIR="${TORCHINDUCTOR_CACHE_DIR:-/tmp/inductor}"
export PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True
train() { # model, minutes, options
  local resume=(); [ -e "$out/$1/resume.pt" ] && resume=(--resume "$out/$1")
  python3 train.py --models "$1" --out "$out/$1" --minutes "$2" "${resume[@]}" "${@:3}"
  cp "$out/$1/$1"*.safetensors "$out/"
}
train cloud "$minutes" "$@"
train edge "$(python3 -c "print($minutes / 2)")" "$@"
python3 -c "
import json, sys
print(json.dumps({m: json.load(open(f'$out/{m}/how.json')) for m in ('cloud', 'edge')}))" > "$out/how.json"
python3 evaluate.py --weights "$out" --out "$out" --scenes 1500 --clips 200
python3 train_probe.py --edge "$out/edge.safetensors" --out "$out"
python3 evaluate_sparsity.py --weights "$out" --out "$out" --scenes 512 --clips 64
