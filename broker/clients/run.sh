#!/usr/bin/env bash
# Checks the broker with real clients: Go (franz-go, sarama) and Java (Apache Kafka's own). A line for each check; the
# first that fails ends it. Needs cargo, Go, a JDK and Maven; what they download stays in their usual caches.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
server=
cleanup() {
  if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap cleanup EXIT

cd "$here/../.."
cargo build --quiet --locked -p drover-broker --example serve
target=$(cargo metadata --format-version 1 --no-deps --offline | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
"$target/debug/examples/serve" 127.0.0.1:0 "$work/data" >"$work/serve.log" 2>&1 &
server=$!
for _ in $(seq 200); do
  address=$(sed -n 's/^listening on //p' "$work/serve.log")
  if [ -n "$address" ]; then break; fi
  if ! kill -0 "$server" 2>/dev/null; then break; fi
  sleep 0.05
done
if [ -z "${address:-}" ]; then
  echo "the broker did not start:" >&2
  cat "$work/serve.log" >&2
  exit 1
fi

(cd "$here/go" && go build -o "$work/go-clients" .)
"$work/go-clients" "$address"

mvn -q -B -f "$here/java/pom.xml" dependency:copy-dependencies -DoutputDirectory="$work/libs"
java -cp "$work/libs/*" "$here/java/Check.java" "$address"
