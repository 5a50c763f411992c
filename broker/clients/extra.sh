#!/usr/bin/env bash
# More clients, for whoever has the time: Python (confluent-kafka, kafka-python, aiokafka), Node (kafkajs), Go (kafka-go),
# Kafka Streams; and a broker that is killed again and again while they write.
# Usage: extra.sh HOST:PORT of a running broker, e.g. of `cargo run -p drover-broker --example serve`.
#        extra.sh HOST:PORT SERVE to start and kill brokers by that program, too.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
address=${1:?usage: extra.sh HOST:PORT [SERVE]}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/python"
"$work/python/bin/pip" install -q confluent-kafka kafka-python aiokafka cramjam python-snappy lz4 zstandard
"$work/python/bin/python" "$here/python/check.py" "$address"

cp "$here/node/check.mjs" "$work"
(cd "$work" && npm install --silent --no-fund --no-audit kafkajs >/dev/null && node check.mjs "$address")

(cd "$here/kafka-go" && go build -o "$work/kafka-go" .)
"$work/kafka-go" "$address"

mvn -q -B -f "$here/java/streams.xml" dependency:copy-dependencies -DoutputDirectory="$work/streams"
java -cp "$work/streams/*" "$here/java/Streams.java" "$address"

if [ -n "${2:-}" ]; then
  "$work/python/bin/python" "$here/python/crash.py" "$2" "$work/crash" 2>"$work/crash.log" || { cat "$work/crash.log" >&2; exit 1; }
fi
