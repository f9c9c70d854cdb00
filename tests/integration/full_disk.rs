//! A device whose disk is full: what cannot be kept is not acknowledged, and all goes on when there is room again.

use std::process::Command;

use crate::device::Solution;

/// Runs on a disk of its own, which nobody but the processes of this script sees. The first argument is a solution, the
/// second a folder for the disk.
const SCRIPT: &str = r#"
set -eu
solution=$1 disk=$2
mount -t tmpfs -o size=32m tmpfs "$disk"
cp -r "$solution"/. "$disk"
cd "$disk"
trap 'edgectl sim down >/dev/null 2>&1 || true' EXIT
fail() { echo "$1" >&2; edgectl status >&2 || true; exit 1; }
arrived() { edgectl status --json | sed -n 's/.*"receivedByCloud": *\([0-9]*\).*/\1/p'; }
more_arrive() {
    before=$(arrived)
    for _ in $(seq 200); do
        [ "$(arrived)" -gt "$before" ] && return 0
        sleep 0.1
    done
    return 1
}

edgectl sim up -d && edgectl deploy
more_arrive || fail 'nothing arrives before the disk is full'

head -c 100m /dev/zero >fill 2>/dev/null || true
# What the databases have in reserve is used up first.
large=$(head -c 20000 /dev/zero | tr '\0' x)
refused() {
    for _ in $(seq 50); do
        status=0
        why=$(edgectl "$@" 2>&1 >/dev/null) || status=$?
        case $status in
            0) continue ;;
            1) ;;
            *) fail "with a full disk: edgectl $1 $2 ended with $status: $why" ;;
        esac
        case $why in *'No space left'*) return ;; *) fail "edgectl $1 $2 does not say why: $why" ;; esac
    done
    fail "edgectl $1 $2 goes on with a full disk"
}
refused message send filter input1 "{\"a\":\"$large\"}"
part=$(head -c 4000 /dev/zero | tr '\0' x)
refused twin patch filter "{\"a\":\"$part\",\"b\":\"$part\",\"c\":\"$part\",\"d\":\"$part\",\"e\":\"$part\"}"
edgectl status >/dev/null

rm fill
edgectl twin patch filter '{"TemperatureThreshold":0}' >/dev/null || fail 'the twin cannot be written again'
edgectl message send filter input1 '{"a":1}' >/dev/null || fail 'no message is taken again'
more_arrive || fail 'nothing arrives any more'
edgectl sim down

# A snapshot is whole or not there, and so is what is restored.
edgectl sim snapshot whole
head -c 100m /dev/zero >fill 2>/dev/null || true
for part in 'snapshot part' 'restore whole'; do
    # The words are two.
    why=$(edgectl sim $part 2>&1) && fail "sim $part goes on with a full disk"
    case $why in *'No space left'*) ;; *) fail "sim $part does not say why: $why" ;; esac
done
[ "$(edgectl sim snapshot list --json | grep -c '"name"')" = 1 ] || fail 'a part of a snapshot is there'
[ -z "$(find .edgectl -name '*.part')" ] || fail 'a part of a copy is left'
rm fill
edgectl sim up -d && edgectl sim down
edgectl sim restore whole
edgectl sim up -d
more_arrive || fail 'nothing arrives after going back'
edgectl sim down
"#;

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_told_and_all_goes_on_when_there_is_room_again() {
    let solution = Solution::new();
    let disk = tempfile::tempdir().unwrap();
    let binary = assert_cmd::cargo::cargo_bin!("edgectl");
    let path = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", SCRIPT, "sh"])
        .args([solution.root().as_path(), disk.path()])
        .env("PATH", path)
        .output()
        .expect("unshare, of util-linux");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
