# The first process of an instance: $1 is its share of process ids, $2 its first words on the console.
# dash counts processes by ulimit -p, bash by -u. Descriptor 6 tells the agent that all is mounted and running.
# TERM ends every other process before this one: interactive shells ignore TERM, but not HUP.
ulimit -u "$1" 2>/dev/null || ulimit -p "$1"
stop() {
  trap '' TERM HUP
  kill -s TERM -- -1
  kill -s HUP -- -1
  while set -- /proc/[0-9]*; [ $# -gt 1 ]; do sleep 0.02; done 2>/dev/null
  exit 0
}
trap stop TERM
echo "$2"
echo ready >&6
exec 6>&-
while :; do sleep 86400 & wait $!; done
