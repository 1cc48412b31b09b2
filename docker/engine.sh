#!/bin/sh
# A container engine that answers, on a bare Debian or Ubuntu machine; then exit 0.
#
#   docker/engine.sh            start one, installing Debian's docker.io if there is none
#   docker/engine.sh --check    only say whether one answers (exit 0 or 1)
#   docker/engine.sh --stop     end the engine that this script started
#
# An engine that already answers is used as it is. The one started here has no bridge and
# touches no firewall: every container of edgepack runs without a network.
set -eu

SOCKET=${EDGEPACK_ENGINE_SOCKET:-/var/run/docker.sock}
PIDFILE=/var/run/docker.pid
LOG=${EDGEPACK_ENGINE_LOG:-/var/log/edgepack-dockerd.log}
OURS=/var/run/edgepack-dockerd.pid
WAIT_S=60

say() { printf '%s\n' "engine: $*" >&2; }

answers() {
    if [ -n "${DOCKER_HOST:-}" ]; then
        docker version --format '{{.Server.Version}}' 2>/dev/null
    else
        DOCKER_HOST="unix://$SOCKET" docker version --format '{{.Server.Version}}' 2>/dev/null
    fi
}

# Whether process $1 is alive and is named $2: a pid file can outlive its process, the number
# may belong to another one by now, and where no init reaps, the dead keep their names.
runs() {
    [ -n "$1" ] && [ "$(cat "/proc/$1/comm" 2>/dev/null || true)" = "$2" ] &&
        ! grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null
}

drop_stale() {
    for file in "$PIDFILE" /run/docker/containerd/containerd.pid; do
        [ -f "$file" ] || continue
        pid=$(tr -dc '0-9' <"$file")
        case $file in *containerd.pid) name=containerd ;; *) name=dockerd ;; esac
        if runs "$pid" "$name"; then
            say "$name runs as $pid"
        else
            say "removing the stale $file"
            rm -f "$file"
        fi
    done
    if [ -S "$SOCKET" ] && ! { [ -f "$PIDFILE" ] && runs "$(cat "$PIDFILE")" dockerd; }; then
        say "removing the stale $SOCKET"
        rm -f "$SOCKET"
    fi
}

install_engine() {
    command -v dockerd >/dev/null 2>&1 || [ -x /usr/sbin/dockerd ] && return 0
    command -v apt-get >/dev/null 2>&1 || {
        say "no dockerd and no apt-get here: install a Docker engine by hand, then try again"
        exit 1
    }
    say "installing docker.io from this machine's package sources"
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y --no-install-recommends docker.io >>"$LOG" 2>&1 || {
        apt-get update >>"$LOG" 2>&1
        apt-get install -y --no-install-recommends docker.io >>"$LOG" 2>&1
    } || {
        say "docker.io could not be installed; see $LOG"
        exit 1
    }
}

start_engine() {
    mkdir -p /var/run
    drop_stale
    PATH="$PATH:/usr/sbin:/sbin" nohup setsid dockerd \
        --host "unix://$SOCKET" --bridge=none --iptables=false --ip6tables=false \
        </dev/null >>"$LOG" 2>&1 &
    started=$!
    left=$((WAIT_S * 2))
    while [ "$left" -gt 0 ]; do
        if version=$(answers); then
            [ -f "$PIDFILE" ] && cp "$PIDFILE" "$OURS"
            say "started, version $version"
            return 0
        fi
        kill -0 "$started" 2>/dev/null || runs "$(cat "$PIDFILE" 2>/dev/null)" dockerd || break
        sleep 0.5
        left=$((left - 1))
    done
    say "dockerd did not come up; its last words ($LOG):"
    tail -n 5 "$LOG" >&2
    exit 1
}

stop_engine() {
    [ -f "$OURS" ] || { say "none was started here"; return 0; }
    pid=$(cat "$OURS")
    rm -f "$OURS"
    runs "$pid" dockerd || { say "already gone"; return 0; }
    kill "$pid"
    left=40
    while runs "$pid" dockerd && [ "$left" -gt 0 ]; do
        sleep 0.5
        left=$((left - 1))
    done
    say "stopped $pid"
}

case ${1:-} in
--check)
    version=$(answers) || { say "no engine answers; run docker/engine.sh as root"; exit 1; }
    say "answers, version $version"
    ;;
--stop) stop_engine ;;
"")
    if version=$(answers); then
        say "already there, version $version"
        exit 0
    fi
    [ "$(id -u)" = 0 ] || { say "no engine answers; starting one needs root"; exit 1; }
    install_engine
    start_engine
    ;;
*)
    say "usage: engine.sh [--check|--stop]"
    exit 2
    ;;
esac
