#!/bin/sh
# A fleet in shards on a swarm of three container engines must come to the same end as in one process. The engines are real and
# have a network namespace each. Needs root, docker.io and iproute2, which tests/run.sh installs.
# usage: tests/swarm.sh PATH-TO-EDGECTL [DEVICES]
set -eu
program=$(readlink -f "$1")
devices=${2:-60}
place=$(mktemp -d)
prefix="edgectl-swarm-$$"
nodes="1 2 3"
network=10.213.77

engine() { # number, arguments of docker
    number=$1
    shift
    docker -H "unix://$place/$number/docker.sock" "$@"
}
# Commands run where the engines reach them, and nothing else does.
edgectl() {
    DOCKER_HOST="unix://$place/1/docker.sock" nsenter --net="/run/netns/$prefix-hub" "$program" -C "$place/app" "$@"
}
clean() {
    status=$?
    trap - EXIT
    for name in one many; do edgectl --device $name fleet down >/dev/null 2>&1 || true; done
    for number in $nodes; do
        engine "$number" swarm leave --force >/dev/null 2>&1 || true
        kill "$(cat "$place/$number/pid" 2>/dev/null)" 2>/dev/null || true
    done
    sleep 1
    for number in $nodes; do
        [ "$status" = 0 ] || grep level=error "$place/$number/log" | tail -5 >&2 || true
        # A shard outlives an engine that was killed.
        ip netns pids "$prefix-$number" 2>/dev/null | xargs -r kill -9 2>/dev/null || true
        ip netns del "$prefix-$number" 2>/dev/null || true
        umount "$place/$number"/exec/netns/* 2>/dev/null || true
    done
    ip netns del "$prefix-hub" 2>/dev/null || true
    # What the kernel still holds of it is left to the next start of the machine.
    rm -rf "$place" 2>/dev/null || true
    # After what the engines said, so that it is not lost among that.
    [ -z "$why" ] || echo "error: $why" >&2
    exit "$status"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
why=""
fail() {
    why=$*
    exit 1
}
wait_for() { # what, command
    what=$1
    shift
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -le 300 ] || fail "$what"
        sleep 0.2
    done
}

ip netns add "$prefix-hub"
ip -n "$prefix-hub" link set lo up
ip -n "$prefix-hub" link add bridge type bridge
ip -n "$prefix-hub" address add $network.1/24 dev bridge
ip -n "$prefix-hub" link set bridge up
for number in $nodes; do
    ip netns add "$prefix-$number"
    ip -n "$prefix-$number" link set lo up
    ip -n "$prefix-hub" link add "port$number" type veth peer name eth0 netns "$prefix-$number"
    ip -n "$prefix-hub" link set "port$number" master bridge up
    ip -n "$prefix-$number" address add "$network.1$number/24" dev eth0
    ip -n "$prefix-$number" link set eth0 up
    ip -n "$prefix-$number" route add default via $network.1
    mkdir "$place/$number"
    # Not `ip netns exec`, which hides the control groups.
    nsenter --net="/run/netns/$prefix-$number" dockerd --host "unix://$place/$number/docker.sock" \
        --data-root "$place/$number/data" --exec-root "$place/$number/exec" --pidfile "$place/$number/pid" \
        --bridge=none --iptables=false --cgroup-parent "/$prefix-$number" >"$place/$number/log" 2>&1 &
done
for number in $nodes; do wait_for "engine $number does not start" engine "$number" version; done
engine 1 swarm init --advertise-addr $network.11 >/dev/null
token=$(engine 1 swarm join-token -q worker)
for number in 2 3; do engine "$number" swarm join --token "$token" $network.11:2377 >/dev/null; done

"$program" -C "$place" new app >/dev/null
chance="--devices $devices --seed 11 --messages 5 --interval 0.2 --failing 10% --offline 10% --tag site=berlin:60%,paris:40%"
rollout() { # fleet, flags; prints the report
    fleet=$1
    shift
    # The words of both are arguments.
    # shellcheck disable=SC2086
    edgectl --device "$fleet" fleet up -d $chance "$@" >/dev/null
    edgectl --device "$fleet" deploy --configuration base --target-condition '*' --no-wait >/dev/null
    edgectl --device "$fleet" deploy --configuration berlin --target-condition "tags.site = 'berlin'" --priority 5 \
        -f "$place/layer.json" --no-wait >/dev/null
    edgectl --device "$fleet" fleet report --wait --json
}
cat >"$place/layer.json" <<'END'
{ "modulesContent": { "$edgeHub": { "properties.desired.routes.more": "FROM /messages/modules/none/* INTO $upstream" } } }
END
outcome() { # what does not depend on the fleet's name
    python3 -c 'import json, sys; report = json.load(sys.stdin); assert report["settled"]; del report["fleet"]; print(json.dumps(report))'
}

one=$(rollout one | outcome)
edgectl --device one fleet down >/dev/null

edgectl --device many fleet up -d --devices 4 --engine swarm 2>"$place/told" && fail "nodes without the image were not noticed"
grep -q 'fleet image --push' "$place/told" || fail "what to do about the image is not told: $(cat "$place/told")"
edgectl --device many fleet up -d --devices 2 --engine swarm --listen $network.1 --image localhost/none:1 2>"$place/told" &&
    fail "an image that is not there was not noticed"
grep -q 'No such image' "$place/told" || fail "the missing image is not told: $(cat "$place/told")"
edgectl fleet image --output "$place/image.tar" >"$place/made"
image=$(head -1 "$place/made")
for number in $nodes; do engine "$number" load -q -i "$place/image.tar" >/dev/null; done
many=$(rollout many --engine swarm --shards 5 --image "$image" --listen $network.1 | outcome)
[ "$one" = "$many" ] || fail "in one process:
$one
on the swarm:
$many"
# Identifiers are arguments.
# shellcheck disable=SC2046
used=$(engine 1 inspect --format '{{.NodeID}}' $(engine 1 service ps -q $(engine 1 service ls -q)) | sort -u | wc -l)
[ "$used" = 3 ] || fail "$used of three nodes have shards"
[ "$(engine 1 service ls -q | wc -l)" = 5 ] || fail "there are not five shards"

# A node dies: its devices come back on the others.
connected() { edgectl --device many fleet status --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["connected"])'; }
before=$(connected)
kill -9 "$(cat "$place/3/pid")"
pkill -9 -f "$place/3/exec" || true
engine 1 node ls >/dev/null
is_down() { engine 1 node ls --format '{{.Status}}' | grep -q Down; }
wait_for "the death of a node is not noticed" is_down
all_back() { [ "$(connected)" = "$before" ]; }
wait_for "devices of a node that died do not come back" all_back

none_left() { [ -z "$(engine 1 service ls -q)$(engine 1 secret ls -q)" ]; }
edgectl --device many fleet down >/dev/null
none_left || fail "services or secrets are left in the swarm"

# The fleet itself is killed: its shards go with `fleet down`.
edgectl --device many fleet up -d --devices 2 --engine swarm --image "$image" --listen $network.1 >/dev/null
kill -9 "$(cat "$place/app/.edgectl/device-many/lock")"
none_left && fail "a fleet that was killed has no services"
edgectl --device many fleet down >/dev/null
none_left || fail "services or secrets of a fleet that was killed are left in the swarm"
echo "a fleet of $devices devices: one process and five shards on three engines have the same report"
