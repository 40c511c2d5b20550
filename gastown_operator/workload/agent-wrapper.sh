#!/bin/sh
# PID 1 of the agent container: prepares it, runs the agent given as arguments with the prompt on its standard input, and ends it in time.
# Constant and POSIX, so that any image that has sh will do. Its exit status becomes the container's, which decides the pod's phase.
#
#   The user's files are copied to $HOME/$GASTOWN_CONFIG_TARGET, then $GASTOWN_SETUP_COMMAND runs; if one of these fails, the agent does not run.
#   What the agent prints goes to our standard output and, where the image has tee and mkfifo, into the transcript too.
#   SIGTERM, or a file `stop` in the control volume: SIGTERM to every process of the container, SIGKILL 20 s later,
#   so that the keeper, which the kubelet ends after us, keeps its share of the grace period.
set -u
control=/gastown/control
hints=/gastown/hints
config=/gastown/agent-config

write_report() {
  # Something else in their place would make us wait for a reader, or hide the report in a directory.
  rm -rf "$hints/exit.new" "$hints/exit"
  printf '%s\n' "$1" >"$hints/exit.new" && mv -f "$hints/exit.new" "$hints/exit"
}

report() {
  # A full volume has room again without the transcript.
  write_report "$*" 2>/dev/null || { rm -rf "$hints/transcript" "$hints/cpu" && write_report "$*"; }
}

# Where sidecars are ordinary containers the kernel closes this for us, however we die, and the keeper sees it.
if [ -p "$hints/alive" ]; then exec 9>"$hints/alive"; fi

# The round is done already (its done ref is on the remote): running the agent again would do the work twice.
if [ -e "$control/finished" ]; then
  report code=0 stopped=no
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

# A trapped signal ends `wait` early: wait again for as long as the process is there.
await() {
  while :; do
    wait "$1"
    code=$?
    kill -0 "$1" 2>/dev/null || break
  done
  # It may have ended while the signal was seen to. Its own status is then still to be had; 127 says that we have it.
  if [ "$code" -gt 128 ]; then
    wait "$1" 2>/dev/null
    set -- $?
    [ "$1" -eq 127 ] || code=$1
  fi
}

end() {
  # An agent that was stopped may still end with 0 (measured with Claude Code): that is not success.
  if [ "$stopped" = yes ] && [ "$1" -eq 0 ]; then set -- 143; fi
  report "code=$1" "stopped=$stopped"
  exit "$1"
}

cannot_set_up() {
  if [ "$stopped" = yes ]; then end 143; fi
  report code=121 stopped=no "setup=$1"
  exit 121
}

# CPU time of the container in ticks: processes that ended are counted in their parents, orphans in us.
cpu_ticks() {
  ticks=0
  for stat in /proc/[0-9]*/stat; do
    { read -r line <"$stat"; } 2>/dev/null || continue
    # The name before the last parenthesis may hold anything; after it, fields 12 to 15 are utime, stime, cutime, cstime (proc(5)).
    set -f
    set -- ${line##*\)}
    set +f
    if [ $# -gt 15 ]; then ticks=$((ticks + ${12} + ${13} + ${14} + ${15})); fi
  done
  echo "$ticks"
}

(until [ -e "$control/stop" ]; do sleep 1; done && kill -TERM $$) 9>&- &
(while :; do cpu_ticks >"$hints/cpu"; sleep 5; done) 2>/dev/null 9>&- &

copy_config() {
  target=${HOME:-/gastown/home}/$GASTOWN_CONFIG_TARGET
  mkdir -p "$target" || return 1
  # A mounted ConfigMap has links to its files, and names of its own that begin with two dots.
  for file in "$config"/* "$config"/.[!.]*; do
    [ -f "$file" ] || continue
    cat "$file" >"$target/${file##*/}" || return 1
  done
}
if [ -n "${GASTOWN_CONFIG_TARGET:-}" ]; then copy_config || cannot_set_up copy; fi

if [ -n "${GASTOWN_SETUP_COMMAND:-}" ]; then
  /bin/sh -c "$GASTOWN_SETUP_COMMAND" </dev/null 9>&- &
  await $!
  if [ "$stopped" = yes ] || [ "$code" -ne 0 ]; then cannot_set_up "$code"; fi
fi

# A FIFO, not a pipeline, so that the status that we wait for is the agent's. Its name is gone as soon as both ends are open.
writer=
rm -rf "$hints/output"
if command -v tee >/dev/null 2>&1 && mkfifo -m 600 "$hints/output" 2>/dev/null; then
  # Opened for both, it does not wait for the other end.
  exec 8<>"$hints/output" 6<"$hints/output" 7>"$hints/output" 8>&-
  rm -f "$hints/output"
  # Nothing may end the reader before the agent, which would die of SIGPIPE: no signal to all, no full volume, no lack of memory.
  (trap '' TERM INT && { tee -a "$hints/transcript" || cat; }) <&6 6<&- 7>&- 9>&- &
  writer=$!
else
  exec 6</dev/null 7>&1
fi
"$@" <"$control/prompt.md" >&7 2>&7 6<&- 7>&- 9>&- &
agent=$!
exec 6<&- 7>&-
# A stop request may have come just before.
if [ "$stopped" = yes ]; then kill -TERM "$agent" 2>/dev/null; fi
await "$agent"
status=$code

# A stop request that comes now comes too late to have ended the agent.
trap '' TERM INT
# The container ends with us; what the agent left running must not hold its output open, or change the report.
[ $$ -ne 1 ] || kill -TERM -1 2>/dev/null
if [ -n "$writer" ]; then
  (sleep 5 && kill -KILL "$writer") 2>/dev/null 9>&- &
  await "$writer"
fi
[ $$ -ne 1 ] || kill -KILL -1 2>/dev/null
end "$status"
