#!/bin/sh
# Installs edgectl: a release, with its checksum verified, or a build of this source.
set -eu

usage() {
    cat <<'END'
Usage: install.sh [--prefix DIR] [--release URL|FILE [--checksum SHA256]] [--uninstall] [--version]

  --prefix DIR            install to DIR/bin (default: $HOME/.local)
  --release URL|FILE      install this release, a .tar.gz with edgectl in it; its checksum is read from
                          the same place with .sha256 at its end
  --checksum SHA256       the checksum of the release, instead of reading it
  --uninstall             remove edgectl from DIR/bin
  --version               print the version that would be built from this source
  -h, --help              print this

Without --release, edgectl is built from the source that this script lies in; that needs cargo and a C compiler.
END
}

say() { printf '%s\n' "$*"; }

fail() {
    printf 'error: %s\n' "$1" >&2
    shift
    for hint in "$@"; do printf '  hint: %s\n' "$hint" >&2; done
    exit "$status"
}

usage_error() { status=2; fail "$@"; }
missing() { status=6; fail "$@"; }
failed() { status=1; fail "$@"; }

source_directory() {
    # Read from a pipe, the script lies nowhere.
    case $0 in
        */*) directory=$(dirname -- "$0") ;;
        *) directory=. ;;
    esac
    if [ -f "$directory/Cargo.toml" ] && grep -q '^name = "edgectl"$' "$directory/Cargo.toml"; then
        (cd -- "$directory" && pwd)
    fi
}

source_version() {
    sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"$/\1/p' "$1/Cargo.toml"
}

fetch() {
    case $1 in
        file://*) cp -- "${1#file://}" "$2" ;;
        https://*)
            if command -v curl >/dev/null 2>&1; then
                curl --fail --silent --show-error --location --output "$2" -- "$1"
            elif command -v wget >/dev/null 2>&1; then
                wget -q -O "$2" -- "$1"
            else
                missing 'neither curl nor wget was found' 'Install one of them, or download the release and give its file.'
            fi
            ;;
        *://*) usage_error "a release comes over https or from a file, not from $1" ;;
        *) cp -- "$1" "$2" ;;
    esac || failed "$1 could not be read"
}

checksum_of() {
    if command -v sha256sum >/dev/null 2>&1; then
        sha256sum <"$1" | cut -d ' ' -f 1
    elif command -v shasum >/dev/null 2>&1; then
        shasum -a 256 <"$1" | cut -d ' ' -f 1
    else
        missing 'neither sha256sum nor shasum was found, so the release cannot be verified'
    fi
}

unpack_release() {
    fetch "$release" "$work/release.tar.gz"
    if [ -z "$checksum" ]; then
        fetch "$release.sha256" "$work/release.sha256"
        checksum=$(cut -d ' ' -f 1 <"$work/release.sha256")
    fi
    wanted=$(printf '%s' "$checksum" | tr 'A-F' 'a-f')
    found=$(checksum_of "$work/release.tar.gz")
    if [ "$wanted" != "$found" ]; then
        failed "the checksum of $release is $found, not $wanted" 'Nothing was installed. Download it again.'
    fi
    mkdir "$work/release"
    tar -xzf "$work/release.tar.gz" -C "$work/release" || failed "$release is no .tar.gz"
    built=$(find "$work/release" -type f -name edgectl | head -n 1)
    [ -n "$built" ] || failed "there is no edgectl in $release"
}

build_source() {
    root=$(source_directory)
    [ -n "$root" ] || usage_error 'there is no source of edgectl beside this script' \
        'Give a release with --release, or run the script from a checkout.'
    command -v cargo >/dev/null 2>&1 || missing 'cargo was not found' 'Install Rust, as https://rustup.rs says.'
    say "Building edgectl $(source_version "$root") from $root"
    target=${CARGO_TARGET_DIR:-$root/target}
    (cd -- "$root" && cargo build --release --locked --bin edgectl --target-dir "$target") ||
        { status=5; fail 'the build failed'; }
    built=$target/release/edgectl
}

install_binary() {
    mkdir -p -- "$prefix/bin" || failed "$prefix/bin could not be made" 'Choose another place with --prefix.'
    # Moved to its place in one step: a running edgectl is never half overwritten.
    new=$prefix/bin/.edgectl.$$
    if ! { cp -- "$built" "$new" && chmod 755 "$new" && mv -f -- "$new" "$prefix/bin/edgectl"; }; then
        rm -f -- "$new"
        failed "edgectl could not be written to $prefix/bin" 'Choose another place with --prefix.'
    fi
    say "Installed $("$prefix/bin/edgectl" --version) in $prefix/bin"
    case :$PATH: in
        *:"$prefix/bin":*) next='edgectl demo' ;;
        *) next="export PATH=\"$prefix/bin:\$PATH\" && edgectl demo" ;;
    esac
    say "Next:"
    say "  $next"
}

status=1
prefix=
release=
checksum=
action=install
while [ $# -gt 0 ]; do
    option=$1
    case $option in
        --*=*)
            value=${option#*=}
            option=${option%%=*}
            shift
            set -- "$option" "$value" "$@"
            ;;
    esac
    case $option in
        --prefix | --release | --checksum)
            if [ -z "${2-}" ]; then usage_error "$option needs a value" 'See install.sh --help.'; fi
            case $option in
                --prefix) prefix=$2 ;;
                --release) release=$2 ;;
                --checksum) checksum=$2 ;;
            esac
            shift
            ;;
        --uninstall) action=uninstall ;;
        --version) action=version ;;
        -h | --help) action=help ;;
        *) usage_error "unknown argument $option" 'See install.sh --help.' ;;
    esac
    shift
done
if [ -z "$prefix" ]; then
    prefix=${HOME:+$HOME/.local}
    [ -n "$prefix" ] || usage_error 'HOME is not set' 'Say where to install with --prefix.'
fi

case $action in
    help) usage ;;
    version)
        root=$(source_directory)
        [ -n "$root" ] || usage_error 'there is no source of edgectl beside this script'
        source_version "$root"
        ;;
    uninstall)
        if [ -e "$prefix/bin/edgectl" ]; then
            rm -- "$prefix/bin/edgectl" || failed "$prefix/bin/edgectl could not be removed"
            say "Removed $prefix/bin/edgectl"
        else
            say "edgectl is not in $prefix/bin"
        fi
        ;;
    install)
        work=$(mktemp -d) || failed 'no temporary directory could be made'
        trap 'rm -rf -- "$work"' EXIT
        trap 'exit 130' INT
        trap 'exit 143' TERM
        if [ -n "$release" ]; then unpack_release; else build_source; fi
        install_binary
        ;;
esac
