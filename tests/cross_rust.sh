#!/bin/sh
# Unpacks Debian's Rust compiler with its libraries for arm64 into a folder, and says where the compiler is. Nothing is
# installed: apt refuses to put the libraries of two architectures beside each other.
set -eu
place=$1
version=1.85.0+dfsg3-1~deb12u3
if [ ! -x "$place/rustc" ]; then
    rm -rf "$place"
    mkdir -p "$place/packages"
    cd "$place/packages"
    architectures='-o APT::Architectures::=amd64 -o APT::Architectures::=arm64'
    # The options are words, not one.
    # shellcheck disable=SC2086
    apt-get $architectures update -qq
    # shellcheck disable=SC2086
    apt-get $architectures download -qq "rustc-web=$version" "libstd-rust-web-dev=$version" \
        "libstd-rust-web-dev:arm64=$version" "libstd-rust-web-1.85=$version" libllvm19 libz3-4 2>/dev/null
    for package in *.deb; do
        dpkg -x "$package" "$place/root"
    done
    rm -rf "$place/packages"
    cat >"$place/rustc" <<END
#!/bin/sh
LD_LIBRARY_PATH="$place/root/usr/lib/x86_64-linux-gnu" exec "$place/root/usr/bin/rustc" "\$@"
END
    chmod +x "$place/rustc"
fi
echo "$place/rustc"
