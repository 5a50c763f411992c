#!/usr/bin/env bash
# More clients, for whoever has the time: Python (confluent-kafka, kafka-python, aiokafka) and Node (kafkajs).
# Usage: extra.sh HOST:PORT of a running broker, e.g. of `cargo run -p drover-broker --example serve`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
address=${1:?usage: extra.sh HOST:PORT}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/python"
"$work/python/bin/pip" install -q confluent-kafka kafka-python aiokafka cramjam python-snappy lz4 zstandard
"$work/python/bin/python" "$here/python/check.py" "$address"

cp "$here/node/check.mjs" "$work"
(cd "$work" && npm install --silent --no-fund --no-audit kafkajs >/dev/null && node check.mjs "$address")
