#!/bin/sh
# PID 1 of the agent container: runs the agent given as arguments, with the prompt on its standard input, and ends it in time.
# Constant and POSIX, so that any image that has sh will do. Its exit status becomes the container's, which decides the pod's phase.
#
#   SIGTERM, or a file `stop` in the control volume: SIGTERM to every process of the container, SIGKILL 20 s later,
#   so that the keeper, which the kubelet ends after us, keeps its share of the grace period.
set -u
control=/gastown/control
hints=/gastown/hints

report() {
  printf 'code=%s stopped=%s\n' "$1" "$2" >"$hints/exit.new" && mv -f "$hints/exit.new" "$hints/exit"
}

# Where sidecars are ordinary containers the kernel closes this for us, however we die, and the keeper sees it.
if [ -p "$hints/alive" ]; then exec 9>"$hints/alive"; fi

# The round is done already (its done ref is on the remote): running the agent again would do the work twice.
if [ -e "$control/finished" ]; then
  report 0 no
  exit 0
fi

stopped=no
stop() {
  [ "$stopped" = no ] || return 0
  stopped=yes
  # -1 is every process but PID 1, which is us.
  kill -TERM -1 2>/dev/null
  (sleep 20 && kill -KILL -1) 9>&- &
}
trap stop TERM INT

"$@" <"$control/prompt.md" 9>&- &
agent=$!
(until [ -e "$control/stop" ]; do sleep 1; done && kill -TERM $$) 9>&- &

# A trapped signal ends `wait` early: wait again for as long as the agent is there.
while :; do
  wait "$agent"
  code=$?
  kill -0 "$agent" 2>/dev/null || break
done

# An agent that was stopped may still end with 0 (measured with Claude Code): that is not success.
if [ "$stopped" = yes ] && [ "$code" -eq 0 ]; then code=143; fi
report "$code" "$stopped"
exit "$code"
